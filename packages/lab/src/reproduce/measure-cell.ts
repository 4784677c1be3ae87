// Cost of training a cell, and quality of its adapter on the evaluation file.
import { join } from "node:path";
import {
  type Adapter,
  adapterModel,
  type BaseModel,
  type Example,
  encodeExamples,
  evaluateLoss,
  type FinetuneSettings,
  frozenModel,
  gradientSource,
  loadAdapter,
  MosError,
  readDataset,
  toLayerShapes,
} from "mixture-of-shards";
import { parseWith, readJsonLines } from "mixture-of-shards/cli";
import { z } from "zod";
import { type Question, toQuestion } from "./answers.ts";
import { runPath, sessionOptions, type TrialResult, type TrialSpec } from "./cell.ts";
import { median } from "./statistics.ts";

/** Context of a running cell. */
export interface RunningTrial {
  readonly spec: TrialSpec;
  readonly base: BaseModel;
  readonly settings: FinetuneSettings;
  readonly signal: AbortSignal;
  /** Milliseconds since the process started. */
  readonly now: () => number;
  /** Bytes of memory that the process has had at most. */
  readonly peakMemory: () => number;
}

const metricLine = z.looseObject({
  type: z.string(),
  step: z.number(),
  loss: z.number(),
  seconds: z.number(),
  tokens: z.number().optional(),
});

export interface Trained {
  readonly losses: readonly number[];
  readonly tokens: number;
  readonly seconds: { readonly training: number; readonly step: number };
}

/** Sums of the run's metrics, including those of earlier processes. Throws `bad_data` for lines that are none. */
export async function trainedPart(
  spec: Pick<TrialSpec, "folder" | "adapter">,
  resumedAt: number | undefined,
): Promise<Trained> {
  if (spec.adapter === null) return { losses: [], tokens: 0, seconds: { training: 0, step: 0 } };
  const path = join(runPath(spec), "metrics.jsonl");
  const lines: z.output<typeof metricLine>[] = [];
  for await (const { line, value } of readJsonLines(path))
    lines.push(parseWith(metricLine, value, { code: "bad_data", where: `${path}:${line}` }));
  const steps = lines.filter(({ type }) => type === "step");
  const step = median(steps.map(({ seconds }) => seconds));
  // the first update of a process compiles the program
  const counted = steps.map(({ step: at, seconds }) =>
    at === 1 || at === (resumedAt ?? 0) + 1 ? step : seconds,
  );
  return {
    losses: steps.map(({ loss }) => loss),
    tokens: steps.reduce((sum, { tokens = 0 }) => sum + tokens, 0),
    seconds: { training: counted.reduce((sum, seconds) => sum + seconds, 0), step },
  };
}

/** The validation loss, and what is to be answered. */
export async function measure(running: RunningTrial): Promise<{
  readonly result: Pick<TrialResult, "validationLoss" | "validationExamples" | "peakMemoryBytes">;
  readonly questions: readonly Question[];
  readonly seconds: number;
}> {
  const { spec, base, now, peakMemory, settings } = running;
  const { evaluation } = spec;
  const started = now();
  const examples = (await readDataset(evaluation.file)).examples.slice(0, evaluation.examples);
  const adapter = spec.adapter === null ? null : await finalAdapter(running);
  const loss = await validationLoss(running, adapter, examples);
  const { promptFormat, system } = settings;
  const { maxPositions: maxLength } = base.model.config;
  return {
    result: { validationLoss: loss.mean, validationExamples: loss.examples, peakMemoryBytes: peakMemory() },
    questions: examples
      .slice(0, evaluation.answers)
      .map((example) => toQuestion(example, { text: base.text, promptFormat, system, maxLength })),
    seconds: (now() - started) / 1000,
  };
}

const finalAdapter = ({ spec, base: { model } }: RunningTrial): Promise<Adapter> =>
  loadAdapter(runPath(spec), { shapes: toLayerShapes(model.config), fingerprint: model.fingerprint });

/** As training measures it: a mean over the trained tokens, in batches of the training's shape. */
async function validationLoss(
  { spec, base, settings, signal }: RunningTrial,
  adapter: Adapter | null,
  examples: readonly Example[],
): Promise<{ readonly mean: number; readonly examples: number }> {
  const { tokenizer, template } = base.text;
  const { maxLength, promptFormat, system } = settings;
  const { encoded } = await encodeExamples(examples, {
    tokenizer,
    template,
    maxLength,
    promptFormat,
    system,
    signal,
  });
  const maxSegment = Math.max(...encoded.map(({ ids }) => ids.length));
  const model = adapter === null ? frozenModel(base.model) : adapterModel(base.model, adapter);
  await using source = gradientSource(model, { ...sessionOptions(spec), maxSegment });
  const { padToken, eosTokens } = base.model.config;
  const { loss: mean } = await evaluateLoss(source, encoded, {
    batchSize: settings.batchSize,
    maxLength,
    packing: settings.packing,
    padToken: padToken ?? eosTokens[0] ?? 0,
    signal,
  });
  if (!Number.isFinite(mean))
    throw new MosError("diverged", `the validation loss is ${mean}; use a lower --learning-rate`);
  return { mean, examples: encoded.length };
}
