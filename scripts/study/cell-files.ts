// Finished cells as small files of the repository: what decided a cell and what came of it, without times and paths, so
// that a second run gives the same bytes. On another machine they become results again, and are not run twice.
import { mkdir, readdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { z } from "zod";
import { pathExists, readJson, writeFileAtomic } from "#files";

const score = z.looseObject({ task: z.string() });
const failure = z.object({ code: z.string(), message: z.string() });
const result = z.looseObject({
  identity: z.string(),
  key: z.string().optional(),
  failure: failure.optional(),
  benchmarks: z.array(score).optional(),
  losses: z.array(z.number()).optional(),
});
const record = z.looseObject({
  identity: z.string(),
  key: z.string(),
  purpose: z.enum(["tune", "measure"]),
  learningRate: z.number(),
  seed: z.int(),
  model: z.string(),
  train: z.string(),
  evaluation: z.looseObject({ file: z.string() }),
  adapter: z.unknown(),
  settings: z.unknown(),
});
const cellFile = z.looseObject({
  format: z.literal(1),
  task: z.string(),
  folder: z.string(),
  commit: z.string(),
  command: z.string(),
  result,
});

const RESULT = "result.json";
const RECORD = "cell.json";

/** What a machine decides. */
const MACHINE = ["seconds", "peakMemoryBytes", "jobs", "threads", "resumedAt"];
/** In place of it where a file becomes a result again. */
const NO_TIMES = { total: 0, load: 0, training: 0, step: 0, evaluation: 0, answers: 0 };

/** Training losses are kept as means over so many stretches of updates. */
const STRETCHES = 32;

/** Means over stretches of equal length, the last one perhaps shorter; all values where there are few. */
export function thinned(values: readonly number[]): readonly number[] {
  const length = Math.ceil(values.length / STRETCHES);
  return Array.from({ length: length === 0 ? 0 : Math.ceil(values.length / length) }, (_, i) => {
    const stretch = values.slice(i * length, (i + 1) * length);
    return Number((stretch.reduce((sum, value) => sum + value, 0) / stretch.length).toFixed(5));
  });
}

const without = (value: Readonly<Record<string, unknown>>, names: readonly string[]) =>
  Object.fromEntries(Object.entries(value).filter(([name]) => !names.includes(name)));

export interface Origin {
  /** Name of the runs' folder: the task, with its length where that is another. */
  readonly task: string;
  readonly commit: string;
  /** With names in place of the machine's paths. */
  readonly command: string;
}

const foldersIn = async (path: string): Promise<readonly string[]> =>
  (await pathExists(path)) ? (await readdir(path)).sort() : [];

/** The folders of all cells of a run, from its `cells`: `lora-2/seed-0-rate-0.01`. */
async function cellsIn(run: string): Promise<readonly string[]> {
  const cells: string[] = [];
  for (const key of await foldersIn(join(run, "cells")))
    for (const name of await foldersIn(join(run, "cells", key))) cells.push(join(key, name));
  return cells;
}

const readIf = async <T>(path: string, schema: z.ZodType<T>): Promise<T | undefined> =>
  (await pathExists(path)) ? readJson(path, schema, { code: "bad_data" }) : undefined;

/**
 * Writes a file for each finished cell that has none of this result yet. Gives how many were written.
 * Throws MosError `bad_data`, `storage`.
 */
export async function exportCells(run: string, cells: string, origin: Origin): Promise<number> {
  let written = 0;
  for (const folder of await cellsIn(run)) {
    const found = await readIf(join(run, "cells", folder, RESULT), result);
    const spec = await readIf(join(run, "cells", folder, RECORD), record);
    // without a record of its own a result came from a file
    if (found === undefined || spec?.identity !== found.identity) continue;
    const path = join(cells, origin.task, `${folder}.json`);
    const benchmarks = found.benchmarks?.map((one) => without(one, ["seconds"]));
    const known = await readIf(path, cellFile);
    const counted = known?.result.identity === found.identity ? (known.result.benchmarks?.length ?? 0) : -1;
    if (counted >= (benchmarks?.length ?? 0)) continue;
    const { key, purpose, learningRate, seed, adapter, settings, evaluation } = spec;
    const value = {
      format: 1,
      task: origin.task,
      folder,
      commit: origin.commit,
      command: origin.command,
      key,
      purpose,
      learningRate,
      seed,
      model: basename(spec.model),
      train: basename(spec.train),
      evaluation: { ...evaluation, file: basename(evaluation.file) },
      adapter,
      settings,
      result: {
        ...without(found, [...MACHINE, "benchmarks"]),
        ...(found.losses && { losses: thinned(found.losses) }),
        ...(benchmarks && { benchmarks }),
      },
    };
    await mkdir(join(path, ".."), { recursive: true });
    await writeFileAtomic(path, `${JSON.stringify(value)}\n`);
    written++;
  }
  return written;
}

/** Makes results of the files of a task, where a run has none. Gives how many were made. */
export async function importCells(run: string, cells: string, task: string): Promise<number> {
  let made = 0;
  for (const key of await foldersIn(join(cells, task)))
    for (const name of await foldersIn(join(cells, task, key))) {
      const file = await readIf(join(cells, task, key, name), cellFile);
      if (file === undefined) continue;
      const folder = join(run, "cells", file.folder);
      if (await pathExists(join(folder, RESULT))) continue;
      const { benchmarks } = file.result;
      const value =
        file.result.failure === undefined
          ? {
              ...file.result,
              ...(benchmarks && { benchmarks: benchmarks.map((one) => ({ ...one, seconds: 0 })) }),
              seconds: NO_TIMES,
              peakMemoryBytes: 0,
              jobs: 1,
            }
          : file.result;
      await mkdir(folder, { recursive: true });
      await writeFileAtomic(join(folder, RESULT), `${JSON.stringify(value, null, 2)}\n`);
      made++;
    }
  return made;
}
