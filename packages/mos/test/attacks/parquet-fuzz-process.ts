// A process that decodes mutated tables, one for each message, and says how each ended. The tables may end it.
import { writeFileSync } from "node:fs";
import { MosError } from "mixture-of-shards-core/common";
import { serveParent } from "mixture-of-shards-core/process";
import { decodeParquetRows } from "../../../core/src/files/parquet-decode.ts";
import { mutated, validTables } from "./parquet-mutations.ts";

export interface Mutation {
  readonly table: string;
  readonly seed: number;
  /** Where it is written to. */
  readonly path: string;
}

export interface Outcome {
  readonly kind: "read" | "refused" | "thrown";
  readonly message: string;
  /** Resident bytes of the process afterwards. */
  readonly memory: number;
}

export const LIMITS = { maximumRows: 20_000_000, maximumUnpackedBytes: 2 ** 33 };

const tables = validTables();

async function decode({ table, seed, path }: Mutation): Promise<Outcome> {
  const memory = (): number => process.memoryUsage().rss;
  writeFileSync(path, mutated(tables.get(table) ?? new Uint8Array(), seed));
  try {
    for await (const _ of decodeParquetRows(path, LIMITS));
    return { kind: "read", message: "", memory: memory() };
  } catch (error) {
    const kind = error instanceof MosError ? "refused" : "thrown";
    return { kind, message: String(error), memory: memory() };
  }
}

const methods = { decode };
export type FuzzMethods = typeof methods;
serveParent(methods);
