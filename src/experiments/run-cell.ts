// Runs one cell: fine-tunes the adapter with the `finetune` recipe, measures it, and writes the result. cell-process.ts
// calls it in a process of its own.
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { type Adapter, budget, loadAdapter } from "#adapters";
import { MosError } from "#core";
import { type Example, encodeExamples, readDataset } from "#data";
import { pathExists, readJson, readJsonLines, writeFileAtomic } from "#formats";
import {
  adapterModel,
  type BaseModel,
  type FinetuneSettings,
  finetune,
  finetuneSettings,
  geometryOf,
  loadModel,
  wholeModel,
} from "#recipes";
import { evaluateLoss, gradientSource, type TrainSettings } from "#training";
import { countCorrect, type Question, questionOf } from "./answers.ts";
import {
  BENCHMARKS,
  type CellEvent,
  type CellResult,
  type CellSpec,
  hasAdapter,
  isResult,
  RESULT,
  RUN,
  readResult,
  unscored,
} from "./cell.ts";
import { adapterName, openCellEngine, scoreCell, writeResult } from "./score-cell.ts";
import { median } from "./statistics.ts";

export interface RunCellOptions {
  readonly signal: AbortSignal;
  /** Milliseconds since the process started. */
  readonly now: () => number;
  /** Bytes of memory that the process has had at most. */
  readonly peakMemory: () => number;
  /** Milliseconds since 1970. */
  readonly date: () => number;
}

/** What a cell has at hand while it runs. */
interface Running extends RunCellOptions {
  readonly spec: CellSpec;
  readonly base: BaseModel;
  readonly settings: FinetuneSettings;
}

const RECORD = "cell.json";
const runOf = ({ folder }: CellSpec): string => join(folder, RUN);
const recordSchema = z.looseObject({ identity: z.string(), keepAdapter: z.boolean() });

async function ownRecord({ folder, identity }: CellSpec): Promise<z.output<typeof recordSchema> | undefined> {
  const path = join(folder, RECORD);
  if (!(await pathExists(path))) return undefined;
  const record = await readJson(path, recordSchema, { code: "bad_data" }).catch(() => undefined);
  return record?.identity === identity ? record : undefined;
}

/** What earlier attempts have left. */
interface Left {
  /** The cell's result, where nothing but scores of benchmarks is missing. */
  readonly result: CellResult | undefined;
  /** Whether training can be gone on with. */
  readonly resume: boolean;
  /** Whether the adapter was to be kept. */
  readonly wasKept: boolean;
}

/** Looks at what earlier attempts have left; what cannot be used is removed. */
async function prepareFolder(spec: CellSpec): Promise<Left> {
  const run = runOf(spec);
  await mkdir(spec.folder, { recursive: true });
  const record = spec.fresh ? undefined : await ownRecord(spec);
  const wasKept = record?.keepAdapter === true;
  const stored = record === undefined ? undefined : await readResult(spec.folder, spec.identity);
  if (isResult(stored) && (await hasAdapter(spec))) return { result: stored, resume: false, wasKept };
  await rm(join(spec.folder, RESULT), { force: true });
  // answers of an adapter that is trained anew
  await rm(join(spec.folder, BENCHMARKS), { recursive: true, force: true });
  if (record === undefined) {
    await rm(run, { recursive: true, force: true });
    await writeFileAtomic(join(spec.folder, RECORD), `${JSON.stringify(spec, null, 2)}\n`);
  }
  const resume = record !== undefined && (await pathExists(join(run, "run.json")));
  return { result: undefined, resume, wasKept };
}

/**
 * Runs a cell to its result, or to a checkpoint when the signal is aborted; then asks its adapter the benchmarks. Throws
 * what `finetune`, `openEngine` and `evaluate` throw.
 */
export async function* runCell(spec: CellSpec, options: RunCellOptions): AsyncGenerator<CellEvent, void> {
  const { result, resume, wasKept } = await prepareFolder(spec);
  const measured =
    result === undefined ? yield* trainAndMeasure(spec, options, resume) : { result, questions: [] };
  if (measured === "stopped") return;
  yield* askAdapter(spec, measured, options);
  const isKept = spec.keepAdapter || wasKept;
  await rm(isKept ? join(runOf(spec), "checkpoints") : runOf(spec), { recursive: true, force: true });
  yield { type: "finished" };
}

/** A result without what is asked, and questions to be answered before it is written. */
interface Measured {
  readonly result: CellResult;
  readonly questions: readonly Question[];
}

/** All that needs the model in this process, which lets go of it with the end of this. */
async function* trainAndMeasure(
  spec: CellSpec,
  options: RunCellOptions,
  resume: boolean,
): AsyncGenerator<CellEvent, Measured | "stopped"> {
  const { signal, now } = options;
  yield { type: "phase", phase: "loading" };
  const loading = now();
  const base = await loadModel(spec.model, { signal });
  const load = (now() - loading) / 1000;
  const settings = finetuneSettings.parse(spec.settings);
  const running: Running = { ...options, spec, base, settings };
  const resumedAt = spec.adapter === null ? undefined : yield* trainCell(running, resume);
  if (resumedAt === "stopped") return "stopped";
  const trained = await trainedPart(running, resumedAt);
  yield { type: "phase", phase: "evaluating" };
  const measured = await measure(running);
  const result: CellResult = {
    format: 1,
    identity: spec.identity,
    key: spec.key,
    purpose: spec.purpose,
    learningRate: spec.learningRate,
    seed: spec.seed,
    trainable: spec.adapter === null ? 0 : budget(spec.adapter, geometryOf(base.model.config)).trainable,
    losses: [...trained.losses],
    ...measured.result,
    tokens: trained.tokens,
    seconds: { total: now() / 1000, load, ...trained.seconds, evaluation: measured.seconds, answers: 0 },
    jobs: spec.jobs,
    ...(spec.threads === undefined ? {} : { threads: spec.threads }),
    ...(typeof resumedAt === "number" && resumedAt > 0 ? { resumedAt } : {}),
  };
  return { result, questions: measured.questions };
}

/** Counts the answers, writes the result, and adds the scores of benchmarks to it. */
async function* askAdapter(
  spec: CellSpec,
  { result, questions }: Measured,
  { signal, now, date }: RunCellOptions,
): AsyncGenerator<CellEvent, void> {
  const isScored = unscored(spec, result).length === 0;
  if (questions.length === 0 && isScored) return writeResult(spec, result);
  const started = now();
  yield { type: "phase", phase: questions.length > 0 ? "answering" : "scoring" };
  await using engine = await openCellEngine(spec, signal);
  let answered = result;
  if (questions.length > 0) {
    const { answerTokens: maxTokens } = spec.evaluation;
    const answers = await countCorrect(questions, {
      ...{ engine, adapter: adapterName(spec), maxTokens, signal },
    });
    const seconds = { ...result.seconds, total: now() / 1000, answers: (now() - started) / 1000 };
    answered = { ...result, answers, seconds };
  }
  await writeResult(spec, answered);
  if (isScored) return;
  yield { type: "phase", phase: "scoring" };
  yield* scoreCell(spec, answered, { engine, signal, date });
}

/** Trains in the cell's folder; gives the update that it went on from, or that it was stopped. */
async function* trainCell(
  { spec, base, signal, now }: Running,
  resume: boolean,
): AsyncGenerator<CellEvent, number | "stopped"> {
  if (spec.adapter === null) return 0;
  yield { type: "phase", phase: "training" };
  const events = finetune({
    model: base,
    data: spec.train,
    out: runOf(spec),
    adapter: spec.adapter,
    settings: spec.settings,
    resume,
    overwrite: !resume,
    compile: compileOf(spec),
    signal,
    now,
  });
  let steps = 0;
  let from = 0;
  for await (const event of events) {
    if (event.type === "ready") [steps, from] = [event.steps, event.step];
    if (event.type === "step") yield { type: "step", step: event.step, steps, loss: event.loss };
    if (event.type === "stopped") {
      yield { type: "stopped" };
      return "stopped";
    }
  }
  return from;
}

const compileOf = ({ threads }: CellSpec) => ({
  device: "cpu" as const,
  ...(threads === undefined ? {} : { threads }),
});

const metricLine = z.looseObject({
  type: z.string(),
  step: z.number(),
  loss: z.number(),
  seconds: z.number(),
  tokens: z.number().optional(),
});

interface Trained {
  readonly losses: readonly number[];
  readonly tokens: number;
  readonly seconds: { readonly training: number; readonly step: number };
}

/** What the run's metrics say, those of earlier processes included. */
async function trainedPart({ spec }: Running, resumedAt: number | undefined): Promise<Trained> {
  if (spec.adapter === null) return { losses: [], tokens: 0, seconds: { training: 0, step: 0 } };
  const lines: z.output<typeof metricLine>[] = [];
  for await (const { value } of readJsonLines(join(runOf(spec), "metrics.jsonl")))
    lines.push(metricLine.parse(value));
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

/** The held-out loss, and what is to be answered. */
async function measure(running: Running): Promise<{
  readonly result: Pick<CellResult, "heldOutLoss" | "heldOutExamples" | "peakMemoryBytes">;
  readonly questions: readonly Question[];
  readonly seconds: number;
}> {
  const { spec, base, now, peakMemory, settings } = running;
  const { evaluation } = spec;
  const started = now();
  const examples = (await readDataset(evaluation.file)).examples.slice(0, evaluation.examples);
  const adapter = spec.adapter === null ? null : await finalAdapter(running);
  const loss = await heldOutLoss(running, adapter, examples);
  const { rules, system } = settings;
  const { maxPositions: maxLength } = base.model.config;
  return {
    result: { heldOutLoss: loss.mean, heldOutExamples: loss.examples, peakMemoryBytes: peakMemory() },
    questions: examples
      .slice(0, evaluation.answers)
      .map((example) => questionOf(example, { text: base.text, rules, system, maxLength })),
    seconds: (now() - started) / 1000,
  };
}

const finalAdapter = ({ spec, base: { model } }: Running): Promise<Adapter> =>
  loadAdapter(runOf(spec), { geometry: geometryOf(model.config), fingerprint: model.fingerprint });

/** As training measures it: a mean over the trained tokens, in batches of the training's shape. */
async function heldOutLoss(
  { spec, base, settings, signal }: Running,
  adapter: Adapter | null,
  examples: readonly Example[],
): Promise<{ readonly mean: number; readonly examples: number }> {
  const { tokenizer, template } = base.text;
  const { maxLength, rules, system } = settings;
  const { encoded } = await encodeExamples(examples, {
    tokenizer,
    template,
    maxLength,
    rules,
    system,
    signal,
  });
  const longest = Math.max(...encoded.map(({ ids }) => ids.length));
  const model = adapter === null ? wholeModel(base.model) : adapterModel(base.model, adapter);
  await using source = gradientSource(model, { ...compileOf(spec), longest });
  const mean = await evaluateLoss(source, encoded, { ...batchSettings(settings, base), signal });
  if (!Number.isFinite(mean))
    throw new MosError("diverged", `the held-out loss is ${mean}; use a lower --learning-rate`);
  return { mean, examples: encoded.length };
}

/** Of training's settings, measuring needs those of the batches only. */
function batchSettings(settings: FinetuneSettings, { model }: BaseModel): TrainSettings {
  const { batchSize, maxLength, packing, seed } = settings;
  return {
    ...{ batchRows: batchSize, rowLength: maxLength, packed: packing, seed },
    padToken: model.config.padToken ?? model.config.eosTokens[0] ?? 0,
    ...{ steps: 0, learningRate: 0, schedule: "constant", warmup: 0, maxGradientNorm: 0, accumulate: 1 },
    optimizer: { beta1: 0, beta2: 0, weightDecay: 0 },
    ...{ dropout: 0, evaluateEvery: 0, saveEvery: 0 },
  };
}
