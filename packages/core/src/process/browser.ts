// A page has no processes of its own.
import { MosError } from "#common";

export type { Child } from "./child.ts";

export const moduleBeside = (_url: string, name: string): string => name;

/** @throws MosError `unsupported`. */
export function startChild(entry: string): never {
  throw new MosError("unsupported", `${entry} runs in a process of its own, which a browser does not have`);
}
