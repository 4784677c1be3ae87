// Reads Parquet files in a child process. The decoder trusts the counts in a file: a run longer than its page grows an array
// until V8 aborts the process, lists of millions of items are allocated before they are read, and some block sizes make it
// loop for ever. No exception tells of these, so only a process of its own contains them.
import { type ChildProcess, fork } from "node:child_process";
import { stat } from "node:fs/promises";
import { childOptions, type ErrorCode, MosError, moduleBeside } from "#core";
import type { ParquetRow, ReadParquetOptions } from "./parquet-decode.ts";

/** Resource limits of the process. */
export interface DecodeLimits {
  /** Resident memory. */
  readonly bytes: number;
  /** Processor time without a batch of rows. */
  readonly seconds: number;
}

export interface DecodeRequest {
  readonly path: string;
  readonly options: ReadParquetOptions;
  readonly limits: DecodeLimits;
}

/** Reply of the process to a request, and to each "next". */
export type DecodeReply =
  | { readonly type: "rows"; readonly rows: readonly ParquetRow[] }
  | { readonly type: "end" }
  | { readonly type: "error"; readonly code: ErrorCode | undefined; readonly message: string };

const [MIN_BYTES, BYTES_FOR_EACH, MAX_BYTES] = [2 ** 30, 256, 2 ** 33];
const [MIN_SECONDS, BYTES_A_SECOND, MAX_SECONDS] = [10, 100_000, 600];

/** Row groups are decoded whole, so that large files need more. */
const limitsFor = (fileBytes: number): DecodeLimits => ({
  bytes: Math.min(MAX_BYTES, MIN_BYTES + BYTES_FOR_EACH * fileBytes),
  seconds: Math.min(MAX_SECONDS, MIN_SECONDS + Math.ceil(fileBytes / BYTES_A_SECOND)),
});

const ENTRY = moduleBeside(import.meta.url, "parquet-process");

/**
 * The rows of a Parquet file, packed by Snappy, gzip, Brotli, Zstandard (Node 22.15 and later) or not at all. They are decoded
 * in a child process, which a broken file may end.
 *
 * @throws MosError `bad_data`, `unsupported`, `not_found`, `storage`.
 * @example
 * for await (const row of readParquetRows("train.parquet", { maximumRows: 1e6, maximumUnpackedBytes: 2 ** 30 })) use(row);
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
  const child = fork(ENTRY, [], {
    execArgv: [...childOptions(ENTRY)],
    serialization: "advanced",
    stdio: ["ignore", "ignore", "ignore", "ipc"],
  });
  try {
    let reply = await ask(child, { path, options, limits });
    while (reply?.type === "rows") {
      yield* reply.rows;
      reply = await ask(child, "next");
    }
    if (reply === undefined) throw ended(path, limits);
    if (reply.type === "error")
      throw reply.code === undefined ? new Error(reply.message) : new MosError(reply.code, reply.message);
  } finally {
    child.kill("SIGKILL");
  }
}

/** Its answer, or undefined where the process ends. */
function ask(child: ChildProcess, message: DecodeRequest | "next"): Promise<DecodeReply | undefined> {
  return new Promise((resolve, reject) => {
    const settle = (over: () => void): void => {
      child.off("message", onReply).off("exit", onEnd).off("error", onError);
      over();
    };
    const onReply = (reply: DecodeReply): void => settle(() => resolve(reply));
    const onEnd = (): void => settle(() => resolve(undefined));
    const onError = (error: Error): void =>
      settle(() =>
        reject(
          new MosError("device", `the process that reads Parquet files cannot be started: ${error.message}`, {
            cause: error,
          }),
        ),
      );
    child.on("message", onReply).on("exit", onEnd).on("error", onError);
    if (child.exitCode !== null || child.signalCode !== null) onEnd();
    else child.send(message, () => undefined);
  });
}

const ended = (path: string, { bytes, seconds }: DecodeLimits): MosError =>
  new MosError(
    "bad_data",
    `${path}: the process that read this table was ended: the table is broken, or takes more than ${Math.floor(bytes / 2 ** 20)} MiB or ${seconds} s; write it anew, in smaller row groups`,
  );
