// A file whose tensors come one after another, in the order of a plan, each in any number of parts.
import { countElements, MosError } from "#common";
import { type AtomicFile, closeOnFailure, openAtomicFile } from "./atomic-files.ts";

/** A file that is written tensor by tensor. Disposed before `commit`, it leaves no file. */
export interface PlannedWriter<Data> extends AsyncDisposable {
  /** Writes the next tensor of the plan, or its next part. */
  write(name: string, data: Data): Promise<void>;
  /** Gives the file its name, once all tensors are there. */
  commit(): Promise<void>;
}

/** Throws `bad_config` where the number of a tensor's values does not match its shape. */
export function checkCount(name: string, shape: readonly number[], data: { readonly length: number }): void {
  const count = countElements(shape);
  if (count !== data.length)
    throw new MosError(
      "bad_config",
      `tensor "${name}" of shape [${shape.join(", ")}] needs ${count} values, but has ${data.length}`,
    );
}

interface PlannedWriterOptions<Tensor, Data> {
  readonly header: Uint8Array;
  readonly tensors: readonly Tensor[];
  /** Unit of the length of a part. */
  readonly unit: "bytes" | "values";
  readonly byteLength: (tensor: Tensor) => number;
  readonly put: (file: AtomicFile, data: Data, tensor: Tensor) => Promise<void>;
  /** Runs after each complete tensor. */
  readonly end?: (file: AtomicFile, tensor: Tensor) => Promise<void>;
}

/**
 * Begins the file with its header.
 *
 * @throws MosError "bad_config" for a tensor out of turn, too long, or missing at the end; "storage", "not_found".
 */
export async function openPlannedWriter<
  Tensor extends { readonly name: string },
  Data extends { readonly length: number },
>(path: string, options: PlannedWriterOptions<Tensor, Data>): Promise<PlannedWriter<Data>> {
  const { header, tensors, unit, byteLength, put, end } = options;
  const file = await openAtomicFile(path);
  await closeOnFailure(file, () => file.write(header));
  let done = 0;
  let filled = 0;
  return {
    async write(name, data) {
      const next = tensors[done];
      if (next?.name !== name)
        throw new MosError(
          "bad_config",
          `tensor "${name}" was written out of order; expected ${next?.name ?? "none"}`,
        );
      const size = byteLength(next);
      filled += data.length;
      if (filled > size)
        throw new MosError("bad_config", `tensor "${name}" has ${size} ${unit}, but ${filled} were written`);
      await put(file, data, next);
      if (filled < size) return;
      await end?.(file, next);
      done++;
      filled = 0;
    },
    async commit() {
      const missing = tensors[done];
      if (missing !== undefined) throw new MosError("bad_config", `tensor "${missing.name}" is incomplete`);
      await file.commit();
    },
    [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
  };
}
