import { join } from "node:path";
import {
  type Adapter,
  type AdapterConfig,
  bindMethod,
  computeDelta,
  startAdapter,
} from "mixture-of-shards-core/adapters";
import { type Batch, type EncodedExample, makeBatch } from "mixture-of-shards-core/data";
import { openSafetensors, type SafetensorsFile } from "mixture-of-shards-core/files";
import {
  headWeight,
  LINEAR_NAMES,
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
import type { GoldenEntry } from "./cases.ts";

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

/** The adapter of a golden file: our tensors under the names that the file has too. */
export async function goldenAdapter(
  model: LoadedModel,
  config: AdapterConfig,
  file: SafetensorsFile,
): Promise<Adapter> {
  const adapter = await startAdapter(config, toBaseShapes(model));
  const fromBase = bindMethod(config)
    .tensors(adapter.shapes)
    .flatMap(({ name, prepare }) => (prepare === undefined ? [] : [name]));
  for (const [name, { data }] of adapter.tensors) {
    if (fromBase.includes(name)) continue; // the file's numbers were computed with factors of its own
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

/** The mean gradient of each trained tensor of a golden file. */
export async function compareGradients(
  { gradients, count }: BatchGradients,
  expected: SafetensorsFile,
): Promise<ReadonlyMap<string, Difference>> {
  const largest = await largestMagnitude(expected, "grad.");
  const differences = new Map<string, Difference>();
  for (const key of expected.tensors.keys()) {
    const [kind, name = ""] = [key.slice(0, 5), key.slice(5)];
    if (kind !== "grad.") continue;
    const found = gradients.get(`adapter.${name}`)?.map((g) => g / count) ?? [];
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
  const adapter = config === undefined ? undefined : await goldenAdapter(loaded, config, expected);
  const model = adapter === undefined ? wholeModel(loaded) : adapterModel(loaded, adapter);
  const logits = difference(await allLogits(model, batch, device), await expected.readFloat32("logits"));
  await using source = gradientSource(model, { device });
  const result = await source.gradients(batch, undefined);
  const loss = difference([result.loss / result.targets], await expected.readFloat32("loss"));
  const gradients = await compareGradients(result, expected);
  const deltas = new Map<string, Difference>();
  for (const name of expected.tensors.keys()) {
    const [kind, ...rest] = name.split(".");
    const linearName = LINEAR_NAMES.find((known) => known === rest[0]);
    if (kind === "delta" && adapter !== undefined && linearName !== undefined) {
      const found = await computeDelta(adapter, { layer: Number(rest[1]), linear: linearName });
      deltas.set(rest.join("."), difference(found?.data ?? [], await expected.readFloat32(name)));
    }
  }
  const losses =
    config === undefined
      ? undefined
      : difference(
          (await trainedSteps(model, rows, { golden: entry.train, device })).map((step) => step.loss),
          entry.train.losses,
        );
  return { logits, loss, gradients, deltas, losses };
}
