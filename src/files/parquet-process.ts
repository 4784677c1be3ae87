// The process that decodes one Parquet file and sends its rows, a batch each time that it is asked. parquet.ts is the other side.
import { Worker } from "node:worker_threads";
import { errorText, MosError } from "#core";
import type { DecodeLimits, DecodeReply, DecodeRequest } from "./parquet.ts";
import { charactersIn, decodeParquetRows, type ParquetRow } from "./parquet-decode.ts";

/** A batch is sent when it has so many rows or characters. */
const [BATCH_ROWS, BATCH_CHARACTERS] = [1000, 1 << 20];

/** A thread of its own, since a broken file may keep this one for ever. It counts processor time: a machine may be busy. */
const WATCH = `
const { workerData: { limits, sent, parent } } = require("node:worker_threads");
const used = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};
let [before, start] = [0, used()];
setInterval(() => {
  const now = Atomics.load(sent, 0);
  if (now !== before) [before, start] = [now, used()];
  if (process.ppid !== parent || used() - start > limits.seconds || process.memoryUsage.rss() > limits.bytes)
    process.kill(process.pid, "SIGKILL");
}, 50);`;

/** Ends this process when it takes too much or its parent is gone. Returns what says that a batch is sent. */
function watch(limits: DecodeLimits): () => void {
  const sent = new Int32Array(new SharedArrayBuffer(4));
  const workerData = { limits, sent, parent: process.ppid };
  new Worker(WATCH, { eval: true, execArgv: [], workerData }).unref();
  return () => void Atomics.add(sent, 0, 1);
}

async function* batches({ path, options }: DecodeRequest): AsyncGenerator<readonly ParquetRow[], void> {
  let rows: ParquetRow[] = [];
  let characters = 0;
  for await (const row of decodeParquetRows(path, options)) {
    rows.push(row);
    characters += charactersIn(row);
    if (rows.length < BATCH_ROWS && characters < BATCH_CHARACTERS) continue;
    yield rows;
    [rows, characters] = [[], 0];
  }
  if (rows.length > 0) yield rows;
}

async function next(decoded: AsyncIterator<readonly ParquetRow[], void>): Promise<DecodeReply> {
  try {
    const { done, value } = await decoded.next();
    return done ? { type: "end" } : { type: "rows", rows: value ?? [] };
  } catch (error) {
    const code = error instanceof MosError ? error.code : undefined;
    return { type: "error", code, message: errorText(error) };
  }
}

let decoded: AsyncIterator<readonly ParquetRow[], void> | undefined;
let progress = (): void => undefined;

process.on("SIGINT", () => undefined); // the parent ends this process
process.on("disconnect", () => process.exit(1));
process.on("message", async (message: DecodeRequest | "next") => {
  if (message !== "next") {
    progress = watch(message.limits);
    decoded = batches(message);
  }
  if (decoded === undefined) return;
  const reply = await next(decoded);
  progress();
  process.send?.(reply, () => undefined);
});
