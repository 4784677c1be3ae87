// Mutations of valid Parquet files, each told by its number.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parquetWriteBuffer } from "hyparquet-writer";
import { randomStream } from "mixture-of-shards-core/common";

const FOLDER = "test/fixtures/parquet";

/** Tables of all encodings that pyarrow and hyparquet-writer write, by their names. */
export function validTables(): ReadonlyMap<string, Uint8Array> {
  const files = readdirSync(FOLDER).map((name) => [name, readFileSync(join(FOLDER, name))] as const);
  return new Map<string, Uint8Array>([...files, ["hyparquet-writer", written()]]);
}

function written(): Uint8Array {
  const rows = Array.from({ length: 60 }, (_, i) => i);
  const texts = rows.map((i) => `text ${i >> 2}`);
  const columnData = [
    { name: "nulls", data: rows.map((i) => (i % 3 === 0 ? null : i)), type: "INT32" as const },
    { name: "dictionary", data: texts, type: "STRING" as const, encoding: "RLE_DICTIONARY" as const },
    { name: "prefixes", data: texts, type: "STRING" as const, encoding: "DELTA_BYTE_ARRAY" as const },
    { name: "lengths", data: texts, type: "STRING" as const, encoding: "DELTA_LENGTH_BYTE_ARRAY" as const },
    { name: "deltas", data: rows, type: "INT32" as const, encoding: "DELTA_BINARY_PACKED" as const },
    { name: "split", data: rows, type: "DOUBLE" as const, encoding: "BYTE_STREAM_SPLIT" as const },
    {
      name: "flags",
      data: rows.map((i) => i % 5 > 2),
      type: "BOOLEAN" as const,
      encoding: "RLE" as const,
    },
  ];
  return new Uint8Array(parquetWriteBuffer({ columnData, codec: "UNCOMPRESSED", rowGroupSize: 40 }));
}

/** The ends and the signs of counts of one byte and of several. */
const COUNTS = ["00", "01", "7f", "80", "ff", "ffff7f", "feffff7f", "ffffffff07", "feffffff0f", "ffffffff0f"];

/** A table with one to three places written over. */
export function mutated(table: Uint8Array, seed: number): Uint8Array {
  const random = randomStream(seed, "mutation");
  const bytes = Uint8Array.from(table);
  for (let places = 1 + random.below(3); places > 0; places--) {
    const at = random.below(bytes.length - 4); // the mark at its end stays
    const count = COUNTS[random.below(2 * COUNTS.length)];
    if (count === undefined) bytes[at] = random.below(256);
    else bytes.set(Buffer.from(count, "hex").subarray(0, bytes.length - at), at);
  }
  return bytes;
}
