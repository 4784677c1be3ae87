import { z } from "zod";
import { MosError } from "#common";
import {
  openSafetensors,
  pathExists,
  readJson,
  restoreFolder,
  writeFileAtomic,
  writeFolderAtomic,
  writeSafetensors,
} from "#files";
import { join, readdir, rm } from "#platform";
import { type Ending, passSums, runEnding } from "./ending.ts";
import type { Parameter } from "./step-graph.ts";

/** First and second moments of one tensor, of its length. */
export interface Moments {
  readonly first: Float32Array;
  readonly second: Float32Array;
}

/** The moments of a tensor of `length` elements before its first update: zeros. */
export const emptyMoments = (length: number): Moments => ({
  first: new Float32Array(length),
  second: new Float32Array(length),
});

const ofTheirTargets = ({ correct, targets }: { correct: number; targets: number }): boolean =>
  correct <= targets;
const MORE_RIGHT = "there are more correct tokens than targets";

const sums = {
  loss: z.number(),
  correct: z.int().nonnegative(),
  targets: z.int().nonnegative(),
  /** What the loss is divided by. */
  count: z.number(),
  metrics: z.record(z.string(), z.strictObject({ sum: z.number(), count: z.number() })).default({}),
};
const seconds = z.number().nonnegative();
const updateSums = z.strictObject({
  microBatches: z.int().positive(),
  epoch: z.int().nonnegative(), // of the first one, from 0
  ...sums,
  tokens: z.int().positive(),
  examples: z.int().positive(),
  seconds,
});
const evaluationSums = z.strictObject({ batches: z.int().positive(), ...sums, seconds });
const bestEvaluation = z.object({ step: z.int(), loss: z.number(), reward: z.number().optional() });

/** Sums of an unfinished update. */
export type UnfinishedUpdate = Readonly<z.output<typeof updateSums>> & {
  /** By parameter. The next micro-batch is added in place. */
  readonly gradients: ReadonlyMap<string, Float32Array>;
};
/** Sums of an unfinished evaluation. */
export type UnfinishedEvaluation = Readonly<z.output<typeof evaluationSums>>;
/** The best evaluation so far, by its reward or else its loss, and the step after which it was made. */
export type BestEvaluation = Readonly<z.output<typeof bestEvaluation>>;

const progressSchema = z.object({
  format: z.literal(1),
  step: z.int().nonnegative(),
  tokens: z.int().nonnegative(),
  unfinished: updateSums.refine(ofTheirTargets, MORE_RIGHT).optional(),
  best: bestEvaluation.optional(),
  baseLoss: z.number().optional(),
  baseReward: z.number().optional(),
  evaluated: z.int().optional(),
  evaluating: evaluationSums.refine(ofTheirTargets, MORE_RIGHT).optional(),
  pass: passSums.optional(),
  ending: runEnding.optional(),
});

/** Everything from which a run resumes as if it had not been interrupted. */
export interface TrainingState extends Ending {
  /** Updates made. */
  readonly step: number;
  /** Tokens of these updates, without padding. */
  readonly tokens: number;
  /** The next update, where a part of it is computed. */
  readonly unfinished?: UnfinishedUpdate | undefined;
  readonly parameters: ReadonlyMap<string, Parameter>;
  readonly moments: ReadonlyMap<string, Moments>;
  /** Undefined as long as no evaluation is better than the one before training. */
  readonly best: BestEvaluation | undefined;
  /** The validation loss before training, which is that of the base. */
  readonly baseLoss?: number | undefined;
  /** The reward before training, of a run that is evaluated by rewards. */
  readonly baseReward?: number | undefined;
  /** The update after which the validation loss was last measured. */
  readonly evaluated?: number | undefined;
  /** The evaluation after this update, where a part of it is computed. */
  readonly evaluating?: UnfinishedEvaluation | undefined;
}

/** The state before the first update of these parameters. */
export const initialState = (parameters: ReadonlyMap<string, Parameter>): TrainingState => ({
  step: 0,
  tokens: 0,
  parameters,
  moments: new Map([...parameters].map(([name, { data }]) => [name, emptyMoments(data.length)])),
  best: undefined,
});

/** Tensors of a parameter; the last one is the sum of its gradients in an unfinished update. */
type Part = "parameter" | "first" | "second" | "gradient";
const folderName = (step: number): string => `step-${String(step).padStart(8, "0")}`;

/**
 * Writes a checkpoint as a folder of its own in `folder`, atomically, then removes older ones; returns its path. `fill` may
 * add files to it.
 *
 * @throws MosError `storage` where the disk refuses.
 */
export async function saveCheckpoint(
  folder: string,
  { parameters, moments, unfinished, ...state }: TrainingState,
  fill: (into: string) => Promise<void> = async () => undefined,
): Promise<string> {
  const target = join(folder, folderName(state.step));
  const { gradients, ...sums } = unfinished ?? {};
  const tensors = [...parameters].flatMap(([name, { shape, data }]) => {
    const { first, second } = moments.get(name) ?? emptyMoments(data.length);
    const gradient = gradients?.get(name);
    const parts: readonly (readonly [Part, Float32Array])[] = [
      ...([
        ["parameter", data],
        ["first", first],
        ["second", second],
      ] as const),
      ...(gradient === undefined ? [] : [["gradient", gradient] as const]),
    ];
    return parts.map(
      ([part, numbers]) => [`${part}.${name}`, { dtype: "F32" as const, shape, data: numbers }] as const,
    );
  });
  const given: Readonly<Record<string, unknown>> = {
    format: 1,
    ...state,
    ...(unfinished === undefined ? {} : { unfinished: sums }),
  };
  // a resumed run has its members in another order, and leaves the same bytes
  const progress = Object.fromEntries(Object.keys(progressSchema.shape).map((name) => [name, given[name]]));
  await writeFolderAtomic(target, async (into) => {
    await writeSafetensors(join(into, "state.safetensors"), Object.fromEntries(tensors));
    await writeFileAtomic(join(into, "progress.json"), `${JSON.stringify(progress, null, 2)}\n`);
    await fill(into);
  });
  for (const { name } of await checkpointsIn(folder, ANY))
    if (name !== folderName(state.step)) await rm(join(folder, name), { recursive: true, force: true });
  return target;
}

/** A checkpoint, and what a killed writer leaves: `.step-….partial` and `.step-….replaced`. */
const COMPLETE = /^(step-\d{8})$/;
const REPLACED = /^\.(step-\d{8})\.replaced$/;
const ANY = /^\.?(step-\d{8})(\..*\.partial|\.replaced)?$/;

/** Matching names in the folder and the checkpoint that each belongs to, in the order of steps. */
async function checkpointsIn(
  folder: string,
  pattern: RegExp,
): Promise<readonly { readonly name: string; readonly checkpoint: string }[]> {
  if (!(await pathExists(folder))) return [];
  return (await readdir(folder))
    .map((name) => ({ name, checkpoint: pattern.exec(name)?.[1] ?? "" }))
    .filter(({ checkpoint }) => checkpoint !== "")
    .sort((a, b) => (a.checkpoint < b.checkpoint ? -1 : 1));
}

/**
 * The latest checkpoint of a folder, read into `parameters`; undefined where there is none. Incomplete ones, of a killed
 * writer, are ignored.
 *
 * @throws MosError `bad_data` for a checkpoint that is broken or of another run.
 */
export async function loadCheckpoint(
  folder: string,
  parameters: ReadonlyMap<string, Parameter>,
): Promise<TrainingState | undefined> {
  for (const { checkpoint } of await checkpointsIn(folder, REPLACED))
    await restoreFolder(join(folder, checkpoint));
  const latest = (await checkpointsIn(folder, COMPLETE)).at(-1)?.name;
  if (latest === undefined) return undefined;
  const at = join(folder, latest);
  const progressFile = join(at, "progress.json");
  const progress = await readJson(progressFile, progressSchema, { code: "bad_data" });
  const { format: _, unfinished: sums, ...state } = progress;
  const { step } = state;
  if (folderName(step) !== latest)
    throw new MosError(
      "bad_data",
      `${at} is of step ${step}; was the folder renamed? Name it ${folderName(step)}`,
    );
  await using file = await openSafetensors(join(at, "state.safetensors"), { code: "bad_data" });
  const read = async (part: Part, name: string, length: number): Promise<Float32Array> => {
    const shape = file.tensors.get(`${part}.${name}`)?.shape;
    const size = shape?.reduce((a, b) => a * b, 1);
    if (size !== undefined && size !== length)
      throw new MosError(
        "bad_data",
        `${at}: ${part}.${name} has ${size} values, but this run has ${length}; start again without --resume`,
      );
    return file.readFloat32(`${part}.${name}`);
  };
  const moments = new Map<string, Moments>();
  const gradients = new Map<string, Float32Array>();
  for (const [name, { data }] of parameters) {
    data.set(await read("parameter", name, data.length));
    moments.set(name, {
      first: await read("first", name, data.length),
      second: await read("second", name, data.length),
    });
    if (sums !== undefined) gradients.set(name, await read("gradient", name, data.length));
  }
  const unfinished = sums === undefined ? undefined : { ...sums, gradients };
  return { ...state, parameters, moments, best: state.best, unfinished };
}
