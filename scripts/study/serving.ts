// Quality at a given memory: how good an answer N adapters of one server can be, when all of them are to stay resident.

import { parseAdapterConfig } from "#adapters";
import type { LinearName } from "#graph";
import { presetConfig, readModelConfig, toLayerShapes } from "#models";
import { residentBytes } from "../../src/inference/adapters/index.ts";
import { type Measure, measureSpread, type StudyRow } from "./analysis.ts";

/** As `mos serve` keeps them with `--adapter-memory 2GB --adapter-dtype bfloat16`. */
const MEMORY = 2e9;
const COUNTS = [100, 1000, 10_000] as const;

/** Of one method, the row with the best result of those whose adapters fit. */
export interface Fitting {
  readonly row: StudyRow;
  readonly targets: readonly LinearName[];
  /** Of one adapter. */
  readonly bytes: number;
}
export interface ServingLine {
  readonly adapters: number;
  readonly lora: Fitting | undefined;
  readonly mos: Fitting | undefined;
}

/** The base of a task: SmolLM2-135M's shapes are known, the bundled model's are read. */
const geometryFor = async (task: string) =>
  toLayerShapes(
    task.startsWith("capacity") ? await readModelConfig("assets/tiny-english") : presetConfig("smollm2-135m"),
  );

/** The best of LoRA's rows and of MoS's for each number of adapters, by `measure`, of which low values are good. */
export async function servingLines(
  task: string,
  rows: readonly StudyRow[],
  measure: Measure,
): Promise<readonly ServingLine[]> {
  const shapes = await geometryFor(task);
  const sized = rows.flatMap((row): readonly (Fitting & { readonly mean: number })[] => {
    const [cell] = row.cells.values();
    const mean = measureSpread(row, measure)?.mean;
    if (row.key === "base" || cell === undefined || mean === undefined) return [];
    const config = parseAdapterConfig(cell.adapter, row.key);
    const { targets } = config;
    return [{ row, mean, targets, bytes: residentBytes(config, shapes, "bfloat16").own }];
  });
  const best = (adapters: number, matches: (key: string) => boolean): Fitting | undefined =>
    sized
      .filter(({ row, bytes }) => matches(row.key) && bytes * adapters <= MEMORY)
      .reduce<(typeof sized)[number] | undefined>(
        (found, one) => (found === undefined || one.mean < found.mean ? one : found),
        undefined,
      );
  return COUNTS.map((adapters) => ({
    adapters,
    lora: best(adapters, (key) => key.startsWith("lora-")),
    mos: best(adapters, (key) => key === "mos-2" || key === "mos-8"),
  }));
}
