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
import { countCorrect } from "./answers.ts";
import { type CellEvent, type CellResult, type CellSpec, type Evaluation, RESULT } from "./cell.ts";
import { median } from "./statistics.ts";

export interface RunCellOptions {
  readonly signal: AbortSignal;
  /** Milliseconds since the process started. */
  readonly now: () => number;
  /** Bytes of memory that the process has had at most. */
  readonly peakMemory: () => number;
}

/** What a cell has at hand while it runs. */
interface Running extends RunCellOptions {
  readonly spec: CellSpec;
  readonly base: BaseModel;
  readonly settings: FinetuneSettings;
}

const RECORD = "cell.json";
const runOf = ({ folder }: CellSpec): string => join(folder, "run");
const recordSchema = z.looseObject({ identity: z.string() });

const isOwn = async ({ folder, identity }: CellSpec): Promise<boolean> => {
  const path = join(folder, RECORD);
  if (!(await pathExists(path))) return false;
  const record = await readJson(path, recordSchema, { code: "bad_data" }).catch(() => undefined);
  return record?.identity === identity;
};

/** Whether an earlier attempt can be gone on with; what cannot be used is removed. */
async function prepareFolder(spec: CellSpec): Promise<boolean> {
  const run = runOf(spec);
  await mkdir(spec.folder, { recursive: true });
  const isKept = !spec.fresh && (await isOwn(spec));
  await rm(join(spec.folder, RESULT), { force: true });
  if (!isKept) {
    await rm(run, { recursive: true, force: true });
    await writeFileAtomic(join(spec.folder, RECORD), `${JSON.stringify(spec, null, 2)}\n`);
  }
  return isKept && (await pathExists(join(run, "run.json")));
}

/**
 * Runs a cell to its result, or to a checkpoint when the signal is aborted. Throws what `finetune` throws.
 */
export async function* runCell(spec: CellSpec, options: RunCellOptions): AsyncGenerator<CellEvent, void> {
  const { signal, now } = options;
  const resume = await prepareFolder(spec);
  yield { type: "phase", phase: "loading" };
  const loading = now();
  const base = await loadModel(spec.model, { signal });
  const load = (now() - loading) / 1000;
  const settings = finetuneSettings.parse(spec.settings);
  const running: Running = { ...options, spec, base, settings };
  const resumedAt = spec.adapter === null ? undefined : yield* trainCell(running, resume);
  if (resumedAt === "stopped") return;
  const trained = await trainedPart(running, resumedAt);
  yield { type: "phase", phase: "evaluating" };
  const measured = yield* measure(running);
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
    seconds: { total: now() / 1000, load, ...trained.seconds, ...measured.seconds },
    jobs: spec.jobs,
    ...(spec.threads === undefined ? {} : { threads: spec.threads }),
    ...(typeof resumedAt === "number" && resumedAt > 0 ? { resumedAt } : {}),
  };
  await writeFileAtomic(join(spec.folder, RESULT), `${JSON.stringify(result, null, 2)}\n`);
  await rm(spec.keepAdapter ? join(runOf(spec), "checkpoints") : runOf(spec), {
    recursive: true,
    force: true,
  });
  yield { type: "finished" };
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

interface Measured {
  readonly result: Pick<CellResult, "heldOutLoss" | "heldOutExamples" | "answers" | "peakMemoryBytes">;
  readonly seconds: { readonly evaluation: number; readonly answers: number };
}

/** The held-out loss, and the answers where they are wanted. */
async function* measure(running: Running): AsyncGenerator<CellEvent, Measured> {
  const { spec, base, now, peakMemory, settings, signal } = running;
  const { evaluation } = spec;
  const started = now();
  const examples = (await readDataset(evaluation.file)).examples.slice(0, evaluation.examples);
  const adapter = spec.adapter === null ? null : await finalAdapter(running);
  const loss = await heldOutLoss(running, adapter, examples);
  const peakMemoryBytes = peakMemory();
  const answering = now();
  if (evaluation.answers > 0) yield { type: "phase", phase: "answering" };
  const answers =
    evaluation.answers === 0
      ? undefined
      : await countCorrect(base, examples.slice(0, evaluation.answers), {
          ...answerSettings(evaluation, settings),
          adapter,
          compile: compileOf(spec),
          signal,
        });
  return {
    result: {
      heldOutLoss: loss.mean,
      heldOutExamples: loss.examples,
      ...(answers === undefined ? {} : { answers }),
      peakMemoryBytes,
    },
    seconds: { evaluation: (answering - started) / 1000, answers: (now() - answering) / 1000 },
  };
}

const answerSettings = ({ answerTokens, answerRows }: Evaluation, { rules, system }: FinetuneSettings) => ({
  rules,
  system,
  maxTokens: answerTokens,
  rows: answerRows,
});

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
