// The lines that were added to a file, which somebody may write at this moment and which may hold anything.
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { tryJson } from "mixture-of-shards-core/common";
import type { MeasurementBatch } from "./run.ts";

const CHUNK = 1 << 18;
const NEWLINE = 0x0a;
/** Bytes of a line; one of a run has a few hundred. Longer ones are passed over. */
const MAX_LINE = 1 << 16;

/** A link is not followed, and a pipe is not waited for. */
export const SAFE_FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

const parseLines = (bytes: Buffer): readonly unknown[] =>
  bytes
    .toString("utf8")
    .split("\n")
    .flatMap((line) => (line === "" || line.length > MAX_LINE ? [] : (tryJson(line) ?? [])));

/**
 * Measurements of whole lines behind a position. A last line without its end is left for the next time, anything that is no
 * measurement is passed over, and a file that cannot be read has none.
 */
export async function* readAddedLines(path: string, from: number): AsyncGenerator<MeasurementBatch, void> {
  const handle = await open(path, SAFE_FLAGS).catch(() => undefined);
  if (handle === undefined) return;
  try {
    if (!(await handle.stat()).isFile()) return;
    const buffer = Buffer.allocUnsafe(CHUNK);
    for (let position = from; ; ) {
      const { bytesRead } = await handle.read(buffer, 0, CHUNK, position);
      const end = buffer.subarray(0, bytesRead).lastIndexOf(NEWLINE) + 1;
      if (end > 0) {
        position += end;
        yield { measurements: parseLines(buffer.subarray(0, end)), position };
      } else if (bytesRead === CHUNK) {
        // within a line that is far too long
        position += CHUNK;
        yield { measurements: [], position };
      } else return;
    }
  } catch {
    // it is gone, or its disk is
  } finally {
    await handle.close();
  }
}
