import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { MosError } from "#core";
import {
  openSafetensors,
  pathExists,
  readJson,
  writeFileAtomic,
  writeFolderAtomic,
  writeSafetensors,
} from "#formats";
import type { Parameter } from "./gradients.ts";
import { emptyMoments, type Moments } from "./optimizer.ts";

/** Everything a run needs to go on as if it had not been interrupted. */
export interface TrainingState {
  /** Updates made. */
  readonly step: number;
  readonly parameters: ReadonlyMap<string, Parameter>;
  readonly moments: ReadonlyMap<string, Moments>;
  readonly best: BestEvaluation | undefined;
}

export interface BestEvaluation {
  readonly step: number;
  readonly loss: number;
}

/** A fresh start from these parameters. */
export const initialState = (parameters: ReadonlyMap<string, Parameter>): TrainingState => ({
  step: 0,
  parameters,
  moments: new Map([...parameters].map(([name, { data }]) => [name, emptyMoments(data.length)])),
  best: undefined,
});

const progress = z.object({
  format: z.literal(1),
  step: z.int().nonnegative(),
  best: z.object({ step: z.int(), loss: z.number() }).optional(),
});

const PARTS = ["parameter", "first", "second"] as const;
const folderName = (step: number): string => `step-${String(step).padStart(8, "0")}`;

/** Writes a checkpoint as a folder of its own, complete or absent, and then removes older ones. */
export async function saveCheckpoint(
  folder: string,
  { step, parameters, moments, best }: TrainingState,
): Promise<string> {
  const target = join(folder, folderName(step));
  const tensors = [...parameters].flatMap(([name, { shape, data }]) => {
    const { first, second } = moments.get(name) ?? emptyMoments(data.length);
    return [data, first, second].map(
      (part, i) => [`${PARTS[i]}.${name}`, { dtype: "F32" as const, shape, data: part }] as const,
    );
  });
  await writeFolderAtomic(target, async (into) => {
    await writeSafetensors(join(into, "state.safetensors"), Object.fromEntries(tensors));
    await writeFileAtomic(
      join(into, "progress.json"),
      `${JSON.stringify({ format: 1, step, ...(best ? { best } : {}) }, null, 2)}\n`,
    );
  });
  for (const other of await checkpointsIn(folder))
    if (other !== folderName(step)) await rm(join(folder, other), { recursive: true, force: true });
  return target;
}

const checkpointsIn = async (folder: string): Promise<readonly string[]> =>
  (await pathExists(folder))
    ? (await readdir(folder)).filter((name) => /^step-\d{8}$/.test(name)).sort()
    : [];

/** The latest checkpoint of a folder, read into `parameters`; undefined where there is none. */
export async function loadCheckpoint(
  folder: string,
  parameters: ReadonlyMap<string, Parameter>,
): Promise<TrainingState | undefined> {
  const latest = (await checkpointsIn(folder)).at(-1);
  if (latest === undefined) return undefined;
  const at = join(folder, latest);
  const { step, best } = await readJson(join(at, "progress.json"), progress, { code: "bad_data" });
  await using file = await openSafetensors(join(at, "state.safetensors"));
  const read = async (part: (typeof PARTS)[number], name: string, length: number): Promise<Float32Array> => {
    const data = await file.readFloat32(`${part}.${name}`);
    if (data.length !== length)
      throw new MosError(
        "bad_data",
        `${at}: ${part}.${name} holds ${data.length} numbers, this run has ${length}; start again without --resume`,
      );
    return data;
  };
  const moments = new Map<string, Moments>();
  for (const [name, { data }] of parameters) {
    data.set(await read("parameter", name, data.length));
    moments.set(name, {
      first: await read("first", name, data.length),
      second: await read("second", name, data.length),
    });
  }
  return { step, parameters, moments, best };
}
