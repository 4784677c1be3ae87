import { MosError } from "#core";

export const cancelled = (signal: AbortSignal | undefined): MosError =>
  new MosError("cancelled", "checking a program was stopped", { cause: signal?.reason });
