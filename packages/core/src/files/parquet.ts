// Reads Parquet files in a child process. The decoder trusts the counts in a file: a run longer than its page grows an array
// until V8 aborts the process, lists of millions of items are allocated before they are read, and some block sizes make it
// loop for ever. No exception tells of these, so only a process of its own contains them.
import { MosError } from "#common";
import { stat } from "#platform";
import { moduleBeside, startChild } from "#process";
import type { ParquetRow, ReadParquetOptions } from "./parquet-decode.ts";
import type { ParquetMethods } from "./parquet-process.ts";

const [MIN_BYTES, BYTES_FOR_EACH, MAX_BYTES] = [2 ** 30, 256, 2 ** 33];
const [MIN_SECONDS, BYTES_A_SECOND, MAX_SECONDS] = [10, 100_000, 600];

/** Limits of memory, and of processor time without a batch of rows. Row groups are decoded whole, so that large files need more. */
const limitsFor = (fileBytes: number) => ({
  bytes: Math.min(MAX_BYTES, MIN_BYTES + BYTES_FOR_EACH * fileBytes),
  seconds: Math.min(MAX_SECONDS, MIN_SECONDS + Math.ceil(fileBytes / BYTES_A_SECOND)),
});

/**
 * The rows of a Parquet file, packed by Snappy, gzip, Brotli, Zstandard (Node 22.15 and later) or not at all. They are decoded
 * in a child process, which a broken file may end.
 *
 * @throws MosError `bad_data`, `unsupported`, `not_found`, `storage`.
 */
export async function* readParquetRows(
  path: string,
  options: ReadParquetOptions,
): AsyncGenerator<ParquetRow, void> {
  const size = await stat(path).then(
    (found) => found.size,
    () => 0, // the process says what is wrong
  );
  const limits = limitsFor(size);
  await using child = startChild<ParquetMethods>(moduleBeside(import.meta.url, "parquet-process"), {
    limits,
    stderr: "ignore",
    exitError: () =>
      new MosError(
        "bad_data",
        `${path}: reading this table was aborted: it is damaged, or needs more than ${Math.floor(limits.bytes / 2 ** 20)} MiB or ${limits.seconds} s; write it again, in smaller row groups`,
      ),
  });
  for await (const rows of child.stream("decode", { path, options })) yield* rows;
}
