import { join } from "node:path";
import {
  type Adapter,
  type AdapterConfig,
  adapterHook,
  adapterLeaves,
  bindMethod,
  computeDelta,
  startAdapter,
} from "mixture-of-shards-core/adapters";
import { type Batch, type EncodedExample, makeBatch } from "mixture-of-shards-core/data";
import { openSafetensors, type SafetensorsFile } from "mixture-of-shards-core/files";
import { createModelRunner, prepareWeights } from "mixture-of-shards-core/inference";
import {
  COMMON_LINEARS,
  headWeight,
  type LinearName,
  type LoadedModel,
  loadBase,
  toBaseShapes,
} from "mixture-of-shards-core/models";
import {
  adapterModel,
  type BatchGradients,
  gradientSource,
  hiddenStates,
  initialState,
  type StepEvent,
  type TrainableModel,
  type TrainOptions,
  train,
  wholeModel,
} from "mixture-of-shards-core/training";
import { compile, type Device, linear, softCap } from "mixture-of-shards-graph";
import { type GoldenEntry, linearNames } from "./cases.ts";

/** Largest absolute difference, and the same as a share of the largest expected number. */
export interface Difference {
  readonly absolute: number;
  readonly relative: number;
}

/** The largest of them as a share. */
export const worst = (differences: Iterable<Difference>): number =>
  Math.max(0, ...[...differences].map(({ relative }) => relative));

export interface Comparison {
  readonly logits: Difference;
  readonly loss: Difference;
  readonly gradients: ReadonlyMap<string, Difference>;
  readonly deltas: ReadonlyMap<string, Difference>;
  readonly losses: Difference | undefined;
  /** Logits with a cache, and those of a packed row, where the folder has them. */
  readonly steps: Difference | undefined;
  readonly packed: Difference | undefined;
}

/** Numbers of which all should be 0 are compared with `scale`. */
export function difference(
  found: ArrayLike<number>,
  expected: ArrayLike<number>,
  scale = Number.MIN_VALUE,
): Difference {
  if (found.length !== expected.length)
    return { absolute: Number.POSITIVE_INFINITY, relative: Number.POSITIVE_INFINITY };
  let absolute = 0;
  let largest = 0;
  for (let i = 0; i < found.length; i++) {
    const gap = Math.abs((found[i] as number) - (expected[i] as number));
    absolute = Number.isNaN(gap) ? Number.POSITIVE_INFINITY : Math.max(absolute, gap);
    largest = Math.max(largest, Math.abs(expected[i] as number));
  }
  return { absolute, relative: absolute === 0 ? 0 : absolute / (largest || scale) };
}

/** The rows of input_ids and labels, as the trainer takes them. */
async function readRows(file: SafetensorsFile): Promise<readonly EncodedExample[]> {
  const [ids, labels] = [await file.readInt32("input_ids"), await file.readInt32("labels")];
  const [count = 0, length = 0] = file.tensors.get("input_ids")?.shape ?? [];
  return Array.from({ length: count }, (_, line) => ({
    line,
    ids: ids.subarray(line * length, (line + 1) * length),
    labels: labels.subarray(line * length, (line + 1) * length),
    targetTokens: labels.subarray(line * length + 1, (line + 1) * length).filter((label) => label >= 0)
      .length,
    truncated: false,
    truncatedTargets: 0,
  }));
}

/** Logits of rows with a cache: `prefill` tokens at once, and the others one by one. */
async function stepLogits(
  { config, weights }: LoadedModel,
  rows: readonly EncodedExample[],
  { prefill, device }: { readonly prefill: number; readonly device: Device },
): Promise<Float32Array> {
  await using base = await prepareWeights(config, weights, { device });
  const length = Math.max(...rows.map(({ ids }) => ids.length));
  await using runner = await createModelRunner(base, {
    maxLength: length,
    adapters: false,
    session: { device },
  });
  runner.cache.resize(rows.length, length);
  const logits = rows.map((): Float32Array[] => []);
  for (let from = 0; from < length; from = from === 0 ? prefill : from + 1) {
    const tokens = rows.map(({ ids }) => [...ids.subarray(from, from === 0 ? prefill : from + 1)]);
    const found = await runner.run({ from: 0, count: rows.length, tokens, allLogits: true });
    for (const [i, own] of found.entries()) logits[i]?.push(...own.map((row) => row.slice()));
  }
  const all = logits.flat();
  const joined = new Float32Array(all.reduce((sum, row) => sum + row.length, 0));
  let at = 0;
  for (const row of all) {
    joined.set(row, at);
    at += row.length;
  }
  return joined;
}

/** Examples of `packed_ids`, which share a row. */
async function readPacked(file: SafetensorsFile): Promise<readonly EncodedExample[]> {
  const [ids, lengths] = [await file.readInt32("packed_ids"), await file.readInt32("packed_lengths")];
  let from = 0;
  return [...lengths].map((length, line) => {
    const own = ids.subarray(from, from + length);
    from += length;
    const none = { targetTokens: length - 1, truncated: false, truncatedTargets: 0 };
    return { line, ids: own, labels: own, ...none };
  });
}

/** Logits of every position, [B · S, V]. */
async function allLogits(model: TrainableModel, batch: Batch, device: Device): Promise<Float32Array> {
  const shape = { rows: batch.rows, length: batch.length };
  const hidden = hiddenStates(model.config, {
    shape,
    weights: model.weights,
    linear: model.linear(shape, undefined),
  });
  const logitsValue = softCap(
    linear(hidden, headWeight(model.config, model.weights)),
    model.config.logitSoftCap,
  );
  await using program = await compile({ logits: logitsValue }, { device });
  for (const [name, data] of [...model.weightData, ...model.parameters])
    if (program.inputs.has(name)) program.bind({ [name]: data });
  const grid = [batch.rows, batch.length];
  const { logits } = await program.run({
    ids: { shape: grid, data: batch.ids },
    positions: { shape: grid, data: batch.positions },
    segments: { shape: grid, data: batch.segments },
  });
  return logits?.data as Float32Array;
}

type Rename = (name: string) => string;

/** The goldens' name of a tensor of ours, whose linear layer may be called otherwise there. */
const renamed =
  (names: ReadonlyMap<string, LinearName>): Rename =>
  (own) => {
    const [, linear = "", rest = ""] = /^([^.@]+)(.*)$/.exec(own) ?? [];
    const [theirs] = [...names].find(([, ours]) => ours === linear) ?? [];
    return `${theirs ?? linear}${rest}`;
  };

/** The adapter of a golden file: our tensors under the names that the file has for them. */
export async function goldenAdapter(
  model: LoadedModel,
  config: AdapterConfig,
  { file, theirs = (name) => name }: { readonly file: SafetensorsFile; readonly theirs?: Rename },
): Promise<Adapter> {
  const adapter = await startAdapter(config, toBaseShapes(model));
  const fromBase = bindMethod(config)
    .tensors(adapter.shapes)
    .flatMap(({ name, prepare }) => (prepare === undefined ? [] : [name]));
  for (const [own, { data }] of adapter.tensors) {
    if (fromBase.includes(own)) continue; // the file's numbers were computed with factors of its own
    const name = theirs(own);
    if (data instanceof Int32Array) data.set(await file.readInt32(`frozen.${name}`));
    else
      data.set(
        await file.readFloat32(file.tensors.has(`param.${name}`) ? `param.${name}` : `frozen.${name}`),
      );
  }
  return adapter;
}

/** What six updates are made of. */
export interface UpdateOptions extends Pick<TrainOptions, "objective" | "reference"> {
  readonly golden: GoldenEntry["train"];
  readonly device: Device;
}

/** The updates of a run, each of all examples in their order. */
export async function trainedSteps(
  model: TrainableModel,
  examples: readonly EncodedExample[],
  { golden, device, ...options }: UpdateOptions,
): Promise<readonly StepEvent[]> {
  const batch = inOneBatch(examples);
  const steps: StepEvent[] = [];
  for await (const event of train({
    ...options,
    model,
    settings: {
      steps: golden.steps,
      learningRate: golden.learning_rate,
      schedule: golden.schedule,
      warmup: golden.warmup_steps,
      maxGradientNorm: golden.max_grad_norm,
      gradientAccumulationSteps: 1,
      batchSize: examples.length,
      maxLength: model.config.maxPositions,
      packing: false,
      dropout: 0,
      seed: 0,
      padToken: 0,
      evaluateEvery: 0,
      saveEvery: 0,
    },
    train: examples,
    maker: {
      *microBatches() {
        for (let index = 0; ; index++) yield { batch, index, epoch: index, isLast: true };
      },
    },
    validation: [],
    session: { device },
    state: initialState(model.parameters),
    now: () => 0,
  }))
    if (event.type === "step") steps.push(event);
  return steps;
}

/** A batch with a row for each example. */
export const inOneBatch = (examples: readonly EncodedExample[]): Batch =>
  makeBatch(
    examples.map((example) => [example]),
    { length: Math.max(...examples.map(({ ids }) => ids.length)), padToken: 0 },
  );

/** A batch of one row. */
const inOneRow = (examples: readonly EncodedExample[]): Batch =>
  makeBatch([examples], { length: examples.reduce((sum, { ids }) => sum + ids.length, 0), padToken: 0 });

/** The mean gradient of each trained tensor of a golden file. */
export async function compareGradients(
  { gradients, count }: BatchGradients,
  expected: SafetensorsFile,
  theirs: Rename = (name) => name,
): Promise<ReadonlyMap<string, Difference>> {
  const byTheirs = new Map(
    [...gradients].map(([name, data]) => [theirs(name.slice("adapter.".length)), data]),
  );
  const largest = await largestMagnitude(expected, "grad.");
  const differences = new Map<string, Difference>();
  for (const key of expected.tensors.keys()) {
    const [kind, name = ""] = [key.slice(0, 5), key.slice(5)];
    if (kind !== "grad.") continue;
    const found = byTheirs.get(name)?.map((g) => g / count) ?? [];
    differences.set(name, difference(found, await expected.readFloat32(key), largest));
  }
  return differences;
}

export interface CaseOptions {
  /** The adapter's settings; undefined runs the bare model. */
  readonly config: AdapterConfig | undefined;
  readonly device: Device;
}

/** The largest magnitude in the tensors whose names begin so. */
async function largestMagnitude(file: SafetensorsFile, prefix: string): Promise<number> {
  let largest = 0;
  for (const name of file.tensors.keys())
    if (name.startsWith(prefix))
      for (const value of await file.readFloat32(name)) largest = Math.max(largest, Math.abs(value));
  return largest;
}

/**
 * The model with its adapter beside each weight, as the reference has it, in folders where that matters: a sum of both is
 * rounded, which norms of small numbers make larger. Others are compared as a run computes them.
 */
function beside(
  model: TrainableModel,
  { entry, adapter }: { readonly entry: GoldenEntry; readonly adapter: Adapter | undefined },
): TrainableModel {
  if (adapter === undefined || entry.modules === undefined) return model;
  const { trainable, parameters, factors } = adapterLeaves(adapter);
  const hook = () => adapterHook({ factors: factors(), merge: false });
  return { ...model, trainable, parameters, linear: hook };
}

/** What an adapter adds to the weights for which the file says it. */
async function compareDeltas(
  adapter: Adapter,
  expected: SafetensorsFile,
  names: ReadonlyMap<string, LinearName>,
): Promise<ReadonlyMap<string, Difference>> {
  const deltas = new Map<string, Difference>();
  for (const name of expected.tensors.keys()) {
    const [kind, theirs = "", layer] = name.split(".");
    const linearName = names.get(theirs) ?? COMMON_LINEARS.find((known) => known === theirs);
    if (kind !== "delta" || linearName === undefined) continue;
    const found = await computeDelta(adapter, { layer: Number(layer), linear: linearName });
    deltas.set(`${theirs}.${layer}`, difference(found?.data ?? [], await expected.readFloat32(name)));
  }
  return deltas;
}

/** Runs one case of a golden folder. */
export async function compareCase(
  folder: string,
  entry: GoldenEntry,
  { config, device }: CaseOptions,
): Promise<Comparison> {
  const loaded = await loadBase(join(folder, entry.base), { baseDtype: "float32" });
  await using inputs = await openSafetensors(join(folder, entry.inputs));
  await using expected = await openSafetensors(
    join(folder, config === undefined ? entry.inputs : entry.file),
  );
  const rows = await readRows(inputs);
  const batch = inOneBatch(rows);
  const names = linearNames(entry, loaded.config);
  const theirs = renamed(names);
  const adapter =
    config === undefined ? undefined : await goldenAdapter(loaded, config, { file: expected, theirs });
  const adapted = adapter && adapterModel(loaded, adapter);
  const model = adapted === undefined ? wholeModel(loaded) : beside(adapted, { entry, adapter });
  const logits = difference(await allLogits(model, batch, device), await expected.readFloat32("logits"));
  await using source = gradientSource(model, { device });
  const result = await source.gradients(batch, undefined);
  const loss = difference([result.loss / result.targets], await expected.readFloat32("loss"));
  const gradients = await compareGradients(result, expected, theirs);
  const deltas = adapter === undefined ? new Map() : await compareDeltas(adapter, expected, names);
  const losses =
    config === undefined
      ? undefined
      : difference(
          (await trainedSteps(model, rows, { golden: entry.train, device })).map((step) => step.loss),
          entry.train.losses,
        );
  const { prefill } = entry;
  const isBase = config === undefined;
  const steps =
    isBase && prefill !== undefined
      ? difference(
          await stepLogits(loaded, rows, { prefill, device }),
          await expected.readFloat32("step_logits"),
        )
      : undefined;
  const packed =
    isBase && expected.tensors.has("packed_ids")
      ? difference(
          await allLogits(model, inOneRow(await readPacked(expected)), device),
          await expected.readFloat32("packed_logits"),
        )
      : undefined;
  return { logits, loss, gradients, deltas, losses, steps, packed };
}
