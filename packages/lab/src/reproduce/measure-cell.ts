// What training a cell took, and how good its adapter is on the evaluation file.
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
  geometryOf,
  gradientSource,
  loadAdapter,
  MosError,
  readDataset,
} from "mixture-of-shards";
import { parseWith, readJsonLines } from "mixture-of-shards/cli";
import { z } from "zod";
import { type Question, questionOf } from "./answers.ts";
import { type CellResult, type CellSpec, compileOf, runOf } from "./cell.ts";
import { median } from "./statistics.ts";

/** What a cell has at hand while it runs. */
export interface RunningCell {
  readonly spec: CellSpec;
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

/** What the run's metrics say, those of earlier processes included. Throws `bad_data` for lines that are none. */
export async function trainedPart(
  spec: Pick<CellSpec, "folder" | "adapter">,
  resumedAt: number | undefined,
): Promise<Trained> {
  if (spec.adapter === null) return { losses: [], tokens: 0, seconds: { training: 0, step: 0 } };
  const path = join(runOf(spec), "metrics.jsonl");
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
export async function measure(running: RunningCell): Promise<{
  readonly result: Pick<CellResult, "validationLoss" | "validationExamples" | "peakMemoryBytes">;
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
      .map((example) => questionOf(example, { text: base.text, promptFormat, system, maxLength })),
    seconds: (now() - started) / 1000,
  };
}

const finalAdapter = ({ spec, base: { model } }: RunningCell): Promise<Adapter> =>
  loadAdapter(runOf(spec), { geometry: geometryOf(model.config), fingerprint: model.fingerprint });

/** As training measures it: a mean over the trained tokens, in batches of the training's shape. */
async function validationLoss(
  { spec, base, settings, signal }: RunningCell,
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
  await using source = gradientSource(model, { ...compileOf(spec), maxSegment });
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
