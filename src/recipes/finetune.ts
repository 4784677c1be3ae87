import { join } from "node:path";
import {
  type Adapter,
  type AdapterBase,
  type AdapterConfig,
  type AdapterConfigInput,
  type Budget,
  budget,
  createAdapter,
  parseAdapterConfig,
  saveAdapter,
  writeAdapterFiles,
} from "#adapters";
import { MosError, parseSettings } from "#core";
import {
  type EncodedDataset,
  type EncodedExample,
  type EncodingReport,
  encodeExamples,
  readDataset,
  splitHeldOut,
} from "#data";
import { formsOf, geometryOf, openModel } from "#models";
import type { CompileOptions } from "#runtime";
import {
  type FreeMemory,
  freeMemory,
  type JsonLinesWriter,
  limitedMemory,
  type MemoryPlan,
  openJsonLinesWriter,
  pathExists,
  readJsonLines,
  writeFileAtomic,
} from "#storage";
import {
  initialState,
  loadCheckpoint,
  type Rematerialise,
  saveCheckpoint,
  stepsOfEpochs,
  type TrainEvent,
  type TrainSettings,
  train,
} from "#training";
import { type BaseModel, type LoadOptions, loadModel, locatedPath } from "./base.ts";
import { type FinetuneSettings, type FinetuneSettingsInput, finetuneSettings } from "./finetune-settings.ts";
import { baseOfFiles, expectRunMemory, keptAs, type PlannedBase, type RunMemory } from "./memory.ts";
import { parameterCount } from "./params.ts";
import {
  type ClaimedFolder,
  checkResume,
  claimFolder,
  dataDigest,
  lockRun,
  type RunRecord,
  refuseUsed,
} from "./run-folder.ts";
import { adapterModel } from "./trainable.ts";

/** What is trained on what, and where it goes. */
export interface FinetuneOptions extends LoadOptions {
  /** A model folder, a .gguf file, org/name of the hub, or a model that is already loaded. */
  readonly model: string | BaseModel;
  /** A JSONL file. */
  readonly data: string;
  /** A JSONL file of the held-out part; without it a part of `data` is held out. */
  readonly heldOutData?: string;
  /** The folder of the adapter and of its run. */
  readonly out: string;
  readonly adapter: AdapterConfigInput;
  readonly settings?: FinetuneSettingsInput;
  /** Resume from the last checkpoint in `out`. */
  readonly resume?: boolean;
  /** Replace what `out` holds. */
  readonly overwrite?: boolean;
  readonly compile?: CompileOptions;
  /** What the machine has left; asked of the system without it. */
  readonly free?: FreeMemory;
  /** Milliseconds of a steady clock, for rates only. */
  readonly now?: () => number;
}

/** What happens in a run: `memory` and `ready` once, then updates, evaluations, and what was saved or stopped. */
export type FinetuneEvent =
  /** Before anything is loaded: what the run will take, and how it was made to fit. */
  | {
      readonly type: "memory";
      readonly model: ModelSummary;
      readonly plan: MemoryPlan;
      readonly free: FreeMemory;
      /** "layers": they are computed again in the backward pass. */
      readonly rematerialise: Rematerialise;
    }
  | {
      readonly type: "ready";
      readonly adapter: AdapterConfig;
      readonly budget: Budget;
      readonly train: EncodingReport;
      readonly heldOut: EncodingReport | undefined;
      readonly steps: number;
      /** Updates already made, of a resumed run. */
      readonly step: number;
      readonly fingerprint: string;
    }
  | Exclude<TrainEvent, { type: "checkpoint" }>
  | {
      readonly type: "saved";
      readonly what: "checkpoint" | "best" | "adapter";
      readonly step: number;
      readonly path: string;
    };

/** What is said of a model. */
export interface ModelSummary {
  readonly name: string;
  readonly layers: number;
  readonly hiddenSize: number;
  readonly parameters: number;
  /** How most of its numbers are kept in memory. */
  readonly kept: string;
}

interface Plan {
  readonly base: BaseModel;
  readonly adapter: Adapter;
  readonly settings: FinetuneSettings;
  readonly train: EncodedDataset;
  readonly heldOut: EncodedDataset | undefined;
  readonly run: TrainSettings;
  readonly record: RunRecord;
}

/**
 * Fine-tunes an adapter and saves it in `out` in PEFT's folder shape, with metrics.jsonl, the best adapter by held-out
 * loss, and checkpoints that `resume` continues to the same bytes. Aborting the signal saves and ends.
 * Throws MosError: `bad_option`, `bad_config`, `bad_data`, `bad_model`, `not_found`, `storage`, `diverged`, `cancelled`.
 *
 * @example
 * for await (const event of finetune({
 *   model: "assets/tiny-english",
 *   data: "assets/quickstart/train.jsonl",
 *   out: "adapters/tenant",
 *   adapter: { method: "mos", equivalentRank: 2, rank: 6 },
 * }))
 *   if (event.type === "step") console.log(event.step, event.loss);
 */
export async function* finetune(options: FinetuneOptions): AsyncGenerator<FinetuneEvent, void> {
  const { out, resume = false, overwrite = false, signal, now = () => performance.now() } = options;
  // asked before minutes of loading and encoding, and again when the folder is taken
  if (!resume) await refuseUsed(out, overwrite);
  await using _lock = resume ? await lockRun(out) : undefined;
  const prepared = await prepareRun(options);
  const { memory, free } = prepared;
  const { plan: taken, rematerialise } = memory;
  yield { type: "memory", model: prepared.summary, plan: taken, free, rematerialise };
  const plan = await planRun(options, prepared);
  const { base, adapter, run, record } = plan;
  const model = adapterModel(base.model, adapter);
  if (resume) await checkResume(out, record);
  const checkpoints = join(out, "checkpoints");
  const found = resume ? await loadCheckpoint(checkpoints, model.parameters) : undefined;
  const state = found ?? initialState(model.parameters);
  await using files = runFiles(resume ? undefined : await claimFolder(out, record, { overwrite }), {
    metrics: join(out, "metrics.jsonl"),
    step: state.step,
  });
  yield {
    type: "ready",
    adapter: adapter.config,
    budget: budget(adapter.config, adapter.geometry),
    train: plan.train.report,
    heldOut: plan.heldOut?.report,
    steps: run.steps,
    step: state.step,
    fingerprint: base.model.fingerprint,
  };
  const events = train({
    model,
    settings: run,
    train: plan.train.encoded,
    heldOut: plan.heldOut?.encoded ?? [],
    state,
    now,
    signal,
    rematerialise,
    ...(options.compile === undefined ? {} : { compile: options.compile }),
  });
  const save = {
    out,
    checkpoints,
    adapter,
    base: nameOf(base),
  };
  for await (const event of events) {
    // stopped before the first result: nothing was computed, and nothing is written
    if (event.type === "stopped" && event.step === 0) yield event;
    else yield* persist(event, { ...save, metrics: await files.begin(), steps: run.steps });
  }
  if (state.step === run.steps && !(await pathExists(join(out, "adapter_config.json"))))
    yield await saveFinal(save, state.step);
}

/** What the adapter's folder says about its base. */
const nameOf = ({ model: { name, fingerprint, identity } }: BaseModel): AdapterBase => ({
  name,
  fingerprint,
  identity,
});

interface Persistence {
  readonly out: string;
  readonly checkpoints: string;
  readonly adapter: Adapter;
  readonly base: AdapterBase;
  readonly metrics: JsonLinesWriter;
  readonly steps: number;
}

/** Writes the files of an event, and passes it on. */
async function* persist(event: TrainEvent, to: Persistence): AsyncGenerator<FinetuneEvent> {
  const saved = (what: "checkpoint" | "best" | "adapter", path: string, step: number): FinetuneEvent => ({
    type: "saved",
    what,
    path,
    step,
  });
  if (event.type === "step" || event.type === "evaluation") await to.metrics.write(event);
  if (event.type !== "checkpoint") yield event;
  if (event.type === "evaluation" && event.best) {
    const path = join(to.out, "best");
    await saveAdapter(path, to.adapter, { base: to.base });
    yield saved("best", path, event.step);
  }
  if (event.type === "checkpoint") {
    const { step } = event.state;
    yield saved("checkpoint", await saveCheckpoint(to.checkpoints, event.state), step);
    if (step === to.steps) yield await saveFinal(to, step);
  }
}

async function saveFinal(
  { out, adapter, base }: Pick<Persistence, "out" | "adapter" | "base">,
  step: number,
): Promise<FinetuneEvent> {
  await writeAdapterFiles(out, adapter, { base });
  return { type: "saved", what: "adapter", path: out, step };
}

interface RunFiles extends AsyncDisposable {
  /** Begins the run's folder at the first call, and gives the metrics. */
  begin(): Promise<JsonLinesWriter>;
}

/** What is written from the first result on; before it, a run that fails leaves nothing behind. */
function runFiles(
  folder: ClaimedFolder | undefined,
  { metrics: path, step }: { readonly metrics: string; readonly step: number },
): RunFiles {
  let metrics: JsonLinesWriter | undefined;
  return {
    begin: async () => {
      await folder?.begin();
      metrics ??= await openMetrics(path, step);
      return metrics;
    },
    [Symbol.asyncDispose]: async () => {
      await metrics?.[Symbol.asyncDispose]();
      await folder?.[Symbol.asyncDispose]();
    },
  };
}

/** The metrics of the steps that count: a resumed run drops the lines of the steps that it makes again. */
async function openMetrics(path: string, step: number): Promise<JsonLinesWriter> {
  if (await pathExists(path)) {
    const kept: string[] = [];
    await (await openJsonLinesWriter(path))[Symbol.asyncDispose](); // drops a torn last line
    // a run without a checkpoint makes everything again, the evaluation before its first step too
    if (step > 0)
      for await (const { value } of readJsonLines(path))
        if (Number((value as { step?: unknown } | null)?.step) <= step)
          kept.push(`${JSON.stringify(value)}\n`);
    await writeFileAtomic(path, kept.join(""));
  }
  return openJsonLinesWriter(path);
}

/** What is known before the base is loaded. */
interface PreparedRun {
  readonly settings: FinetuneSettings;
  readonly config: AdapterConfig;
  readonly model: string | BaseModel;
  readonly summary: ModelSummary;
  readonly memory: RunMemory;
  readonly free: FreeMemory;
}

/** Checks the settings against the model's header, and that there is memory for the run. Nothing is loaded. */
async function prepareRun(options: FinetuneOptions): Promise<PreparedRun> {
  const settings = parseSettings(finetuneSettings, options.settings ?? {});
  const config = parseAdapterConfig(
    { ...options.adapter, seed: options.adapter.seed ?? settings.seed },
    "adapter",
  );
  const model = typeof options.model === "string" ? await locatedPath(options.model, options) : options.model;
  const base = typeof model === "string" ? await plannedBase(model) : loadedBase(model);
  if (settings.maxLength > base.config.maxPositions)
    throw new MosError(
      "bad_option",
      `maxLength ${settings.maxLength} is more than the ${base.config.maxPositions} positions of ${base.name}; use at most ${base.config.maxPositions}`,
    );
  const free = limitedMemory(settings.memoryLimit, options.free ?? (await freeMemory()));
  const evaluates = options.heldOutData !== undefined || settings.heldOut > 0;
  const memory = expectRunMemory(base, config, { ...settings, evaluates, free });
  const { layers, hiddenSize } = base.config;
  const summary: ModelSummary = {
    ...{ name: base.name, layers, hiddenSize, parameters: parameterCount(base.config) },
    kept: keptAs(base.formsOf({ ...settings, ...memory })),
  };
  return { settings, config, model, free, summary, memory };
}

async function plannedBase(path: string): Promise<PlannedBase> {
  await using files = await openModel(path);
  return baseOfFiles(files);
}

const loadedBase = ({ model: { name, config, weights } }: BaseModel): PlannedBase => ({
  ...{ name, config },
  formsOf: () => formsOf(weights),
});

/** Reads and checks everything that a run needs, before anything is written. */
async function planRun(
  options: FinetuneOptions,
  { settings, config, model: given, memory: { transposedCodes } }: PreparedRun,
): Promise<Plan> {
  const dataset = await readDataset(options.data);
  const heldOutData = options.heldOutData === undefined ? undefined : await readDataset(options.heldOutData);
  const { baseDtype, compute } = settings;
  const base =
    typeof given === "string"
      ? await loadModel(given, { ...options, baseDtype, compute, transposedCodes })
      : given;
  const { config: model } = base.model;
  const adapter = createAdapter(config, geometryOf(model));
  const chosen =
    settings.examples === undefined ? dataset.examples : dataset.examples.slice(0, settings.examples);
  const parts =
    heldOutData === undefined
      ? splitHeldOut(
          chosen,
          settings.heldOut < 1
            ? { seed: settings.seed, fraction: settings.heldOut }
            : { seed: settings.seed, count: settings.heldOut },
        )
      : { train: chosen, heldOut: heldOutData.examples };
  const encoding = {
    tokenizer: base.text.tokenizer,
    template: base.text.template,
    maxLength: settings.maxLength,
    promptFormat: settings.promptFormat,
    system: settings.system,
    signal: options.signal,
  };
  const train = await encodeExamples(parts.train, encoding);
  const heldOut = parts.heldOut.length === 0 ? undefined : await encodeExamples(parts.heldOut, encoding);
  checkTokens([...train.encoded, ...(heldOut?.encoded ?? [])], base);
  const run = trainSettings(settings, {
    encoded: train.encoded,
    dropout: config.dropout,
    padToken: model.padToken ?? model.eosTokens[0] ?? 0,
  });
  const record: RunRecord = {
    format: 1,
    fingerprint: base.model.fingerprint,
    ...(base.model.identity === undefined ? {} : { identity: base.model.identity }),
    adapter: config,
    settings: run,
    baseDtype,
    compute,
    train: dataDigest(train.encoded),
    heldOut: heldOut === undefined ? null : dataDigest(heldOut.encoded),
  };
  return { base, adapter, settings, train, heldOut, run, record };
}

/** A tokenizer may know tokens that its model has no embedding for. */
function checkTokens(examples: readonly EncodedExample[], { model }: BaseModel): void {
  const { vocabularySize } = model.config;
  for (const { ids, line } of examples) {
    const odd = ids.find((id) => id >= vocabularySize);
    if (odd !== undefined)
      throw new MosError(
        "bad_data",
        `line ${line} has token ${odd}, outside the vocabulary of ${vocabularySize} of ${model.name}; does the tokenizer belong to this model?`,
      );
  }
}

interface RunFacts {
  readonly encoded: readonly EncodedExample[];
  readonly dropout: number;
  readonly padToken: number;
}

function trainSettings(settings: FinetuneSettings, { encoded, dropout, padToken }: RunFacts): TrainSettings {
  const { learningRate, schedule, maxGradientNorm, accumulate, packing, evaluateEvery, saveEvery, seed } =
    settings;
  const common = {
    learningRate,
    schedule,
    optimizer: { beta1: settings.beta1, beta2: settings.beta2, weightDecay: settings.weightDecay },
    maxGradientNorm,
    accumulate,
    batchRows: settings.batchSize,
    rowLength: settings.maxLength,
    packed: packing,
    dropout,
    seed,
    padToken,
    evaluateEvery,
    saveEvery,
    warmup: 0,
  };
  const steps =
    settings.steps ??
    stepsOfEpochs(
      encoded.map(({ ids }) => ids.length),
      settings.epochs,
      common,
    );
  const warmup = settings.warmup < 1 ? Math.round(settings.warmup * steps) : settings.warmup;
  if (warmup > steps)
    throw new MosError(
      "bad_option",
      `warmup of ${warmup} updates is more than the ${steps} updates of the run`,
    );
  return { ...common, steps, warmup };
}
