// The log-probability of every target by the reference, which is the adapter as the run starts. It is computed once, kept in
// the run's folder under a digest of what decides it, and attached to the examples.
import { RUN_FILES } from "#adapters";
import { canonicalJson } from "#common";
import { batches, type EncodedExample } from "#data";
import { openSafetensors, pathExists, writeSafetensors } from "#files";
import { createHash, join, nextTurn } from "#platform";
import type { GradientSource } from "./gradients.ts";
import { type BatchSettings, lengthMultiple, rowsAtOnce } from "./micro-batches.ts";
import type { RunRecord } from "./run-record.ts";
import type { Parameters } from "./step-graph.ts";

/** Sets of examples by name. */
export type ExampleSets = Readonly<Record<"train" | "validation", readonly EncodedExample[]>>;

/** How far the log-probabilities of the reference are computed, after each second. */
export interface ReferenceEvent {
  readonly type: "reference";
  /** It comes before the first step of a process. */
  readonly step: 0;
  /** Examples that are done, of `total`. */
  readonly examples: number;
  readonly total: number;
}

/** A copy of parameters, which training overwrites. */
export const copyParameters = (parameters: Parameters): Parameters =>
  new Map([...parameters].map(([name, { shape, data }]) => [name, { shape, data: data.slice() }]));

/** What decides the reference's log-probabilities. */
export function referenceDigest(record: RunRecord): string {
  const names = ["fingerprint", "adapter", "from", "baseDtype", "computeDtype", "train", "validation"];
  const decisive = Object.fromEntries(names.map((name) => [name, record[name] ?? null]));
  return `sha256:${createHash("sha256").update(canonicalJson(decisive)).digest("hex")}`;
}

const countTargets = (examples: readonly EncodedExample[]): number =>
  examples.reduce((sum, { targetTokens }) => sum + targetTokens, 0);

/** The log-probabilities that a run has stored; undefined where there are none of this digest. */
export async function readReference(
  folder: string,
  { sets, digest }: { readonly sets: ExampleSets; readonly digest: string },
): Promise<ExampleSets | undefined> {
  const path = join(folder, RUN_FILES.reference);
  if (!(await pathExists(path))) return undefined;
  await using file = await openSafetensors(path, { code: "bad_data" });
  if (file.metadata["digest"] !== digest) return undefined;
  const read = async (name: keyof ExampleSets) =>
    countTargets(sets[name]) === 0 ? [] : attach(sets[name], await file.readFloat32(name));
  return { train: await read("train"), validation: await read("validation") };
}

/** Writes those of these examples. */
export async function writeReference(
  folder: string,
  { sets, digest }: { readonly sets: ExampleSets; readonly digest: string },
): Promise<void> {
  const tensors = Object.entries(sets).flatMap(([name, examples]) => {
    const data = new Float32Array(countTargets(examples));
    let from = 0;
    for (const { columns, targetTokens } of examples) {
      data.set(columns?.reference ?? [], from);
      from += targetTokens;
    }
    return data.length === 0 ? [] : [[name, { dtype: "F32" as const, shape: [data.length], data }] as const];
  });
  await writeSafetensors(join(folder, RUN_FILES.reference), Object.fromEntries(tensors), { digest });
}

/** Examples with the numbers of their targets, which come one example after the other. */
function attach(examples: readonly EncodedExample[], numbers: Float32Array): readonly EncodedExample[] {
  let from = 0;
  return examples.map((one) => {
    const reference = numbers.subarray(from, from + one.targetTokens);
    from += one.targetTokens;
    return withReference(one, reference);
  });
}

const withReference = (one: EncodedExample, reference: Float32Array): EncodedExample => ({
  ...one,
  columns: { ...one.columns, reference },
});

/**
 * The log-probabilities of the targets of some examples by these parameters, or by the trained ones as they are: batch by batch,
 * each with the index of its example.
 */
export async function* measureTargets(
  source: Pick<GradientSource, "logprobs">,
  examples: readonly EncodedExample[],
  {
    settings,
    parameters,
  }: { readonly settings: BatchSettings; readonly parameters?: Parameters | undefined },
): AsyncGenerator<readonly (readonly [index: number, logprobs: Float32Array])[], void> {
  const layout = { ...settings, batchSize: rowsAtOnce(settings), lengthMultiple: lengthMultiple(settings) };
  for (const batch of batches(examples, { ...layout, epoch: 0, seed: 0, shuffle: false })) {
    const logprobs = (await source.logprobs(batch, parameters)).slice();
    let from = 0;
    yield batch.exampleIndices.map((i) => {
      const begin = from;
      from += examples[i]?.targetTokens ?? 0;
      return [i, logprobs.subarray(begin, from)] as const;
    });
    await nextTurn();
  }
}

export interface ReferenceOptions {
  readonly reference: Parameters;
  readonly settings: BatchSettings;
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number;
  readonly signal?: AbortSignal | undefined;
}

/** Computes them; undefined where the signal is aborted. */
export async function* computeReference(
  source: GradientSource,
  sets: ExampleSets,
  { reference, settings, now, signal }: ReferenceOptions,
): AsyncGenerator<ReferenceEvent, ExampleSets | undefined> {
  const total = sets.train.length + sets.validation.length;
  const found: Record<keyof ExampleSets, EncodedExample[]> = { train: [], validation: [] };
  let [done, told] = [0, now()];
  for (const name of ["train", "validation"] as const)
    for await (const measured of measureTargets(source, sets[name], { settings, parameters: reference })) {
      if (signal?.aborted === true) return undefined;
      for (const [i, numbers] of measured)
        found[name][i] = withReference(sets[name][i] as EncodedExample, numbers);
      done += measured.length;
      if (now() - told < 1000) continue;
      told = now();
      yield { type: "reference", step: 0, examples: done, total };
    }
  yield { type: "reference", step: 0, examples: total, total };
  return found;
}
