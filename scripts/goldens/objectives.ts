// Cases of preference tuning and GRPO: log-probabilities, losses, gradients, metrics and six updates, as TRL computes them.
import { join } from "node:path";
import { type AdapterConfig, createAdapter } from "mixture-of-shards-core/adapters";
import type { Batch, EncodedExample, TokenColumns } from "mixture-of-shards-core/data";
import { openSafetensors, type SafetensorsFile } from "mixture-of-shards-core/files";
import { loadBase, toLayerShapes } from "mixture-of-shards-core/models";
import {
  adapterModel,
  averageMetrics,
  type GradientSource,
  gradientSource,
  type Parameters,
} from "mixture-of-shards-core/training";
import type { Device } from "mixture-of-shards-graph";
import { type ObjectiveEntry, toObjective } from "./cases.ts";
import { compareGradients, difference, goldenAdapter, inOneBatch, trainedSteps, worst } from "./compare.ts";

/** Differences by what was compared, and what float32 allows of them. */
export interface Check {
  readonly what: string;
  readonly found: number;
  readonly limit: number;
}

/** Rows of a matrix of a golden file. */
async function readRows(file: SafetensorsFile, name: string): Promise<readonly (readonly number[])[]> {
  const tensor = file.tensors.get(name);
  const data = tensor?.dtype === "I32" ? await file.readInt32(name) : await file.readFloat32(name);
  const [, width = 1] = tensor?.shape ?? [];
  return Array.from({ length: data.length / width }, (_, i) => [
    ...data.subarray(i * width, (i + 1) * width),
  ]);
}

/** Tokens, and which of them are targets. */
interface Sequence {
  readonly ids: readonly number[];
  readonly isTarget: readonly boolean[];
}

/** The unpadded part of rows. */
const unpadded = (rows: readonly (readonly number[])[], masks: readonly (readonly number[])[]) =>
  rows.map((row, i) => row.filter((_, s) => masks[i]?.[s] === 1));

async function readSequences(file: SafetensorsFile, prompt = "prompt"): Promise<readonly Sequence[]> {
  const read = (name: string) => readRows(file, name);
  if (file.tensors.has(`${prompt}_ids`)) {
    const prompts = unpadded(await read(`${prompt}_ids`), await read(`${prompt}_mask`));
    const answers = unpadded(await read("completion_ids"), await read("completion_mask"));
    return prompts.map((asked, i) => {
      const answer = answers[i] ?? [];
      return {
        ids: [...asked, ...answer],
        isTarget: [...asked.map(() => false), ...answer.map(() => true)],
      };
    });
  }
  const masks = await read("attention_mask");
  const targets = unpadded(await read("completion_mask"), masks);
  return unpadded(await read("input_ids"), masks).map((ids, i) => ({
    ids,
    isTarget: targets[i]?.map((mark) => mark === 1) ?? [],
  }));
}

function toExample(sequences: readonly Sequence[], columns: TokenColumns): EncodedExample {
  const ids = sequences.flatMap((one) => one.ids);
  const isTarget = sequences.flatMap((one) => one.isTarget);
  return {
    line: 0,
    ids: Int32Array.from(ids),
    labels: Int32Array.from(ids, (id, i) => (isTarget[i] ? id : -100)),
    targetTokens: isTarget.filter(Boolean).length,
    truncated: false,
    truncatedTargets: 0,
    sequences: sequences.map((one) => one.ids.length),
    columns,
  };
}

/** The examples of a case: pairs, whose rejected answers are the second half of the rows, or single answers. */
async function readExamples(inputs: SafetensorsFile): Promise<readonly EncodedExample[]> {
  const sequences = await readSequences(inputs);
  const { tensors } = inputs;
  if (tensors.has("advantages")) {
    const masks = await readRows(inputs, "completion_mask");
    const [old, reference] = await Promise.all(
      ["old_logps", "ref_logps"].map(async (name) => unpadded(await readRows(inputs, name), masks)),
    );
    const advantages = await inputs.readFloat32("advantages");
    return sequences.map((sequence, i) =>
      toExample([sequence], {
        advantage: Float32Array.from(old?.[i] ?? [], () => advantages[i] ?? 0),
        old: Float32Array.from(old?.[i] ?? []),
        reference: Float32Array.from(reference?.[i] ?? []),
      }),
    );
  }
  if (tensors.has("label")) {
    const labels = await inputs.readInt32("label");
    return sequences.map((sequence, i) => {
      const targets = sequence.isTarget.filter(Boolean).length;
      return toExample([sequence], { desirable: new Float32Array(targets).fill(labels[i] ?? 0) });
    });
  }
  if (tensors.has("hinted_prompt_ids")) {
    const hinted = await readSequences(inputs, "hinted_prompt");
    return sequences.map((sequence, i) => ({
      ...toExample([sequence], {}),
      hinted: toExample(hinted.slice(i, i + 1), {}),
    }));
  }
  const pairs = sequences.length / 2;
  return sequences
    .slice(0, pairs)
    .map((chosen, i) => toExample([chosen, ...sequences.slice(pairs + i, pairs + i + 1)], {}));
}

/** Numbers of the labels of a batch in the order of a golden file: its sums by sequence, or each token of samples. */
function inGoldenOrder({ labelSequences, sequences, examples }: Batch, logprobs: Float32Array): number[] {
  const sums = Array.from({ length: sequences }, () => 0);
  for (const [label, k] of labelSequences.entries()) sums[k] = (sums[k] ?? 0) + (logprobs[label] ?? 0);
  if (sequences === examples) return sums;
  return [...sums.filter((_, k) => k % 2 === 0), ...sums.filter((_, k) => k % 2 === 1)];
}

/** A copy of the examples with the reference's log-probabilities of their targets, in the order of the batch. */
function withReference(
  examples: readonly EncodedExample[],
  logprobs: Float32Array,
): readonly EncodedExample[] {
  let from = 0;
  return examples.map((example) => {
    const reference = logprobs.slice(from, from + example.targetTokens);
    from += example.targetTokens;
    return { ...example, columns: { ...example.columns, reference } };
  });
}

/** Metrics of TRL that need all logits, or are extremes, which no sums give; and a term of the loss where it has no weight. */
const isReported = (name: string, value: number): boolean =>
  !/^(entropy|logits\/.*|mean_token_accuracy|learning_rate|clip_ratio\/(low_min|high_max))$/.test(name) &&
  !(name === "nll_loss" && value === 0);

/** The largest difference of metrics, of large ones as a share. */
function metricGap(
  found: Readonly<Record<string, number>> | undefined,
  expected: Readonly<Record<string, number>>,
): number {
  const gaps = Object.entries(expected).flatMap(([name, value]) =>
    isReported(name, value)
      ? [Math.abs((found?.[name] ?? Number.POSITIVE_INFINITY) - value) / Math.max(1, Math.abs(value))]
      : [],
  );
  return Math.max(...gaps);
}

/** Log-probabilities by policy and reference, and the latter by label of the batch. */
async function compareLogprobs(
  source: GradientSource,
  examples: readonly EncodedExample[],
  { reference, expected }: { readonly reference: Parameters; readonly expected: SafetensorsFile },
): Promise<{ readonly checks: readonly Check[]; readonly logprobs: Float32Array }> {
  const batch = inOneBatch(examples);
  const [own, other] = [await source.logprobs(batch), await source.logprobs(batch, reference)];
  const isSampled = expected.tensors.has("completion_mask");
  const golden = async (name: string): Promise<ArrayLike<number>> =>
    isSampled
      ? unpadded(await readRows(expected, name), await readRows(expected, "completion_mask")).flat()
      : expected.readFloat32(name);
  const gap = async (logprobs: Float32Array, name: string): Promise<number> =>
    difference(isSampled ? logprobs : inGoldenOrder(batch, logprobs), await golden(name)).absolute;
  const checks = [{ what: "log-probabilities", found: await gap(own, "logps"), limit: 1e-3 }];
  // the reference of samples is a policy of its own, of which the file has the numbers alone
  if (!isSampled)
    checks.push({ what: "those of the reference", found: await gap(other, "ref_logps"), limit: 1e-3 });
  return { checks, logprobs: other };
}

/** Runs one case that has an objective. */
export async function compareObjective(
  folder: string,
  entry: ObjectiveEntry,
  { config, device }: { readonly config: AdapterConfig; readonly device: Device },
): Promise<readonly Check[]> {
  const loaded = await loadBase(join(folder, entry.base), { baseDtype: "float32" });
  await using inputs = await openSafetensors(join(folder, entry.inputs));
  await using expected = await openSafetensors(join(folder, entry.file));
  const model = adapterModel(loaded, await goldenAdapter(loaded, config, { file: expected }));
  const longest = inputs.tensors.get("completion_ids")?.shape[1] ?? 1;
  const { kind, objective } = toObjective(entry.objective, longest);
  const initial = entry.objective.name.endsWith("from_adapter")
    ? await goldenAdapter(loaded, config, { file: expected })
    : createAdapter(config, toLayerShapes(loaded.config));
  const reference = adapterModel(loaded, initial).parameters;
  const read = await readExamples(inputs);
  await using source = gradientSource(model, { device, objective, reference });
  const { checks, logprobs } = await compareLogprobs(source, read, { reference, expected });
  const hasReference = read.every(({ columns }) => columns?.reference !== undefined);
  const examples = (hasReference ? read : withReference(read, logprobs)).map(kind.prepare ?? ((one) => one));
  const result = await source.gradients(inOneBatch(examples), undefined);
  const loss = difference([result.loss / result.count], await expected.readFloat32("loss"));
  const gradients = await compareGradients(result, expected);
  const steps = await trainedSteps(model, examples, { golden: entry.train, device, objective, reference });
  const losses = difference(
    steps.map((step) => step.loss),
    entry.train.losses,
  );
  const norms = difference(
    steps.map((step) => step.gradientNorm),
    entry.train.grad_norms ?? [],
  );
  const metrics = entry.train.metrics?.map((one, i) => metricGap(steps[i]?.metrics, one)) ?? [];
  return [
    ...checks,
    { what: "loss", found: loss.absolute, limit: 1e-4 },
    { what: "gradients", found: worst(gradients.values()), limit: 1e-3 },
    { what: "metrics", found: metricGap(averageMetrics(result.metrics), entry.metrics ?? {}), limit: 1e-3 },
    { what: "six losses", found: losses.relative, limit: 1e-3 },
    { what: "six norms", found: norms.relative, limit: 1e-3 },
    { what: "six times metrics", found: Math.max(...metrics), limit: 1e-3 },
  ];
}
