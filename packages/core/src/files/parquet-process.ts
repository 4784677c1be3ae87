// The process that decodes one Parquet file for parquet.ts.
import type { CallContext } from "#common";
import { serveParent } from "#process";
import {
  charactersIn,
  decodeParquetRows,
  type ParquetRow,
  type ReadParquetOptions,
} from "./parquet-decode.ts";

/** A batch is sent when it has this many rows or characters. */
const [BATCH_ROWS, BATCH_CHARACTERS] = [1000, 1 << 20];

const methods = {
  async decode(
    { path, options }: { readonly path: string; readonly options: ReadParquetOptions },
    { deliver }: CallContext<readonly ParquetRow[]>,
  ): Promise<void> {
    let rows: ParquetRow[] = [];
    let characters = 0;
    for await (const row of decodeParquetRows(path, options)) {
      rows.push(row);
      characters += charactersIn(row);
      if (rows.length < BATCH_ROWS && characters < BATCH_CHARACTERS) continue;
      await deliver(rows);
      [rows, characters] = [[], 0];
    }
    await deliver(rows);
  },
};

export type ParquetMethods = typeof methods;
serveParent(methods);
