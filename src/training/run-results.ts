// Events of a run, and the files in its folder.
import {
  ADAPTER_CONFIG,
  ADAPTER_TENSORS,
  type Adapter,
  type AdapterBase,
  type AdapterConfig,
  type Budget,
  RUN_FILES,
  replaceAdapter,
  saveAdapter,
  writeAdapterFiles,
} from "#adapters";
import { type FreeMemory, type MemoryPlan, monotonicNow } from "#core";
import type { EncodingReport } from "#data";
import { type JsonLinesWriter, linkEntries, openJsonLinesWriter, pathExists, writeFileAtomic } from "#files";
import { type ComputeDtype, type DownloadEvent, parameterCount } from "#models";
import { join } from "#platform";
import { type BestEvaluation, saveCheckpoint, type TrainingState } from "./checkpoint.ts";
import { describeStorage } from "./memory-plan.ts";
import type { Objective } from "./objectives/objective.ts";
import { plainTraining } from "./objectives/sft.ts";
import type { ReferenceEvent } from "./reference.ts";
import type { ClaimedFolder } from "./run-folder.ts";
import type { RunPlan } from "./run-plan.ts";
import { type Measurement, readMeasurements } from "./run-record.ts";
import type { ChosenSettings } from "./settings.ts";
import type { Rematerialise } from "./step-graph.ts";
import { openTensorboard, type TensorboardWriter } from "./tensorboard.ts";
import type { TrainEvent } from "./trainer.ts";
import { type Evaluated, isBetter, measureOf, rewardOf } from "./validation.ts";

/**
 * Event of a run: perhaps a `download`, `memory` and `ready` once, then updates, evaluations and saved files; at
 * the end `finish`, or `stopped` where the signal was aborted.
 */
export type FinetuneEvent =
  | DownloadEvent
  /** Before anything is loaded: what the run will take, and how it was made to fit. */
  | {
      readonly type: "memory";
      readonly model: ModelSummary;
      readonly plan: MemoryPlan;
      readonly free: FreeMemory;
      /** "layers": they are computed again in the backward pass. */
      readonly rematerialise: Rematerialise;
    }
  | ({
      readonly type: "ready";
      readonly adapter: AdapterConfig;
      readonly budget: Budget;
      readonly train: EncodingReport;
      readonly validation: EncodingReport | undefined;
      readonly steps: number;
      /** Updates already made, of a resumed run. */
      readonly step: number;
      readonly fingerprint: string;
      /** Folder of the run until it is complete: `out`, or a hidden folder beside the adapter that it will replace. */
      readonly folder: string;
      /** Steps of the finished run that is extended. */
      readonly extended: number | undefined;
      /** Metrics of the objective that tell most. */
      readonly shown: readonly string[];
      /** The validation loss before training, of a resumed run. */
      readonly baseLoss: number | undefined;
      /** The reward of answers to held-out prompts then, where they are graded. */
      readonly baseReward: number | undefined;
    } & ChosenSettings)
  | ReferenceEvent
  | Exclude<TrainEvent, { type: "checkpoint" }>
  /** Training has gone wrong; it goes on. Each reason is given once. */
  | {
      readonly type: "warning";
      readonly reason: WarningReason;
      readonly step: number;
      readonly message: string;
    }
  | {
      readonly type: "saved";
      readonly what: "checkpoint" | "best" | "adapter";
      readonly step: number;
      readonly path: string;
      /** Micro-batches of an unfinished update in a checkpoint. Its adapter is that of the last complete update. */
      readonly microBatches?: number;
      /** Batches of an unfinished evaluation in a checkpoint. */
      readonly evaluationBatches?: number;
      /** The version that the replaced adapter is kept as. */
      readonly replaced?: number;
    }
  | FinishEvent;

/** The adapter is complete, in the output folder. @inline */
export interface FinishEvent {
  readonly type: "finish";
  readonly out: string;
  /** After which update the adapter was taken. */
  readonly step: number;
  /** The last update that was made, of `steps` that were planned. */
  readonly lastStep: number;
  readonly steps: number;
  /** Why the run ended: all updates are made, or evaluations got no better. */
  readonly reason: "complete" | "early_stopping";
}

/**
 * The gradient is exactly 0, so that nothing changes any more; the loss is that of guessing, though it was lower; the
 * evaluation after training is no better than before; the adapter was trained on other token ids; or what the objective
 * finds wrong with its metrics.
 */
export type WarningReason = "no_gradient" | "guessing" | "worse_than_base" | "other_tokens" | "objective";

/** Summary of a model. */
export interface ModelSummary {
  readonly name: string;
  readonly layers: number;
  readonly hiddenSize: number;
  readonly parameters: number;
  /** Format of most of its weights in memory. */
  readonly storage: string;
  /** Type of the products with its weights. */
  readonly computeDtype: ComputeDtype;
}

/** The base of a planned run, in what is shown of it. */
export function modelSummary({ base, settings, memory }: RunPlan): ModelSummary {
  const { layers, hiddenSize } = base.config;
  return {
    name: base.name,
    layers,
    hiddenSize,
    parameters: parameterCount(base.config),
    storage: describeStorage(base.formsOf({ ...settings, ...memory })),
    computeDtype: memory.computeDtype,
  };
}

/** The adapter that a run saves, and where. */
export interface SavedRun {
  readonly folder: string;
  readonly adapter: Adapter;
  /** The base as the adapter's folder records it. */
  readonly named: AdapterBase;
}

/** Writes the files of an event, and passes it on. */
export async function* persist(
  event: TrainEvent,
  { folder, adapter, named: base, metrics }: SavedRun & { readonly metrics: MetricsWriter },
): AsyncGenerator<FinetuneEvent> {
  if (event.type === "step" || event.type === "evaluation") await metrics.write(event);
  if (event.type !== "checkpoint") yield event;
  if (event.type === "evaluation" && event.best) {
    const path = join(folder, RUN_FILES.best);
    await saveAdapter(path, adapter, { base });
    yield { type: "saved", what: "best", path, step: event.step };
  }
  if (event.type === "checkpoint") {
    const {
      state: { step, unfinished },
      evaluationBatches,
    } = event;
    const path = await saveCheckpoint(join(folder, RUN_FILES.checkpoints), event.state, async (into) => {
      // with its adapter, which can be used before the run is complete
      if (step > 0) await writeAdapterFiles(into, adapter, { base });
    });
    yield {
      type: "saved",
      what: "checkpoint",
      path,
      step,
      ...(unfinished === undefined ? {} : { microBatches: unfinished.microBatches }),
      ...(evaluationBatches === undefined ? {} : { evaluationBatches }),
    };
  }
}

/** Default number of versions to keep of a replaced adapter. */
export const DEFAULT_KEPT_VERSIONS = 3;

interface CompleteOptions {
  /** Step of the adapter. */
  readonly step: number;
  /** The adapter is the best one so far, not that of the last step. */
  readonly isBest: boolean;
  readonly keepVersions: number | undefined;
}

/** Writes the adapter of a run that is over, and puts it in the place of the one that it replaces. */
export async function* complete(
  { out, folder, adapter, named: base }: SavedRun & { readonly out: string },
  { step, isBest, keepVersions = DEFAULT_KEPT_VERSIONS }: CompleteOptions,
): AsyncGenerator<FinetuneEvent> {
  const isWritten = await pathExists(join(folder, ADAPTER_CONFIG));
  // the config last, as without it the folder is no adapter
  if (isBest) await linkEntries(join(folder, RUN_FILES.best), folder, [ADAPTER_TENSORS, ADAPTER_CONFIG]);
  else if (!isWritten) await writeAdapterFiles(folder, adapter, { base });
  if (folder === out) {
    if (!isWritten) yield { type: "saved", what: "adapter", path: out, step };
    return;
  }
  const replaced = await replaceAdapter(out, folder, { keepVersions });
  yield { type: "saved", what: "adapter", path: out, step, ...(replaced === undefined ? {} : { replaced }) };
}

/** Writer of a run's metrics. */
export interface MetricsWriter {
  write(measurement: Measurement): Promise<void>;
}

/** The metrics of a run, and the folder that begins with them. */
export interface RunFiles extends AsyncDisposable {
  /** Begins the run's folder at the first call, and gives the metrics. */
  begin(): Promise<MetricsWriter>;
  /** Ends the metrics: a browser cannot move a folder in which a file is open. */
  end(): Promise<void>;
}

export interface RunFilesOptions {
  /** The checkpoint that the run goes on from; undefined where it begins. */
  readonly from: Pick<TrainingState, "step" | "evaluated"> | undefined;
  /** Folder of the run. */
  readonly folder: string;
  /** Writes event files of TensorBoard, too. */
  readonly tensorboard: boolean;
}

/** Files written from the first result on; before it, a run that fails leaves nothing behind. */
export function runFiles(
  claimed: ClaimedFolder | undefined,
  { folder, from, tensorboard }: RunFilesOptions,
): RunFiles {
  let metrics: JsonLinesWriter | undefined;
  let board: TensorboardWriter | undefined;
  const end = async (): Promise<void> => {
    await metrics?.[Symbol.asyncDispose]();
    await board?.[Symbol.asyncDispose]();
    metrics = board = undefined;
  };
  return {
    end,
    begin: async () => {
      await claimed?.begin();
      metrics ??= await openMetrics(folder, from);
      if (tensorboard) board ??= await openTensorboard(folder, { now: monotonicNow });
      return {
        write: async (metric) => {
          await metrics?.write(metric);
          await board?.write(metric);
        },
      };
    },
    [Symbol.asyncDispose]: async () => {
      await end();
      await claimed?.[Symbol.asyncDispose]();
    },
  };
}

/** Tests whether a measurement precedes a checkpoint. */
const isBefore = (
  { type, step: at }: Measurement,
  { step, evaluated }: NonNullable<RunFilesOptions["from"]>,
): boolean => (type === "evaluation" && at === step ? evaluated === step : at <= step);

/** The metrics that count: a resumed run drops the lines of the steps and the evaluation that it makes again. */
async function openMetrics(folder: string, from: RunFilesOptions["from"]): Promise<JsonLinesWriter> {
  const path = join(folder, RUN_FILES.metrics);
  if (await pathExists(path)) {
    const kept: string[] = [];
    // a run without a checkpoint makes everything again, the evaluation before its first step too
    if (from !== undefined)
      for await (const { measurement } of readMeasurements(folder))
        if (isBefore(measurement, from)) kept.push(`${JSON.stringify(measurement)}\n`);
    await writeFileAtomic(path, kept.join(""));
  }
  return openJsonLinesWriter(path);
}

/** Facts about a run when it starts or resumes. */
export interface RunFacts {
  /** Updates of the whole run. */
  readonly steps: number;
  /** True if the run gives its best adapter, not its last. */
  readonly keepsBest: boolean;
  readonly vocabularySize: number;
  /** The evaluation before training. */
  readonly base: Evaluated | undefined;
  readonly best: BestEvaluation | undefined;
  /** Plain training by default. */
  readonly objective?: Pick<Objective, "warn" | "guessingLoss">;
}

/** Loss that a run must have been below that of guessing, before reaching it is a sign of anything. */
const CLEARLY = 0.05;

/** Answers to a few prompts often earn the same as before. */
const isSuccess = (now: Evaluated, base: Evaluated): boolean =>
  isBetter(now, base) || (now.reward !== undefined && now.reward === base.reward);

/** Looks at each event of a run for signs that training has gone wrong, and says so once for each. */
export function watchForCollapse({
  steps,
  keepsBest,
  vocabularySize,
  objective = plainTraining,
  ...run
}: RunFacts): (event: TrainEvent) => readonly FinetuneEvent[] {
  let { base, best } = run;
  let firstLoss = base?.loss;
  const said = new Set<WarningReason>();
  const guessing = objective.guessingLoss?.(vocabularySize) ?? Number.POSITIVE_INFINITY;
  const advice = "use a lower --learning-rate";
  const checkStep = (event: TrainEvent): readonly (readonly [WarningReason, string])[] => {
    if (event.type !== "step") return [];
    const { step, loss, gradientNorm, metrics } = event;
    // other objectives than plain training may have nothing to learn from an update
    const isStalled = gradientNorm === 0 && metrics === undefined;
    firstLoss ??= loss;
    const wasBetter = firstLoss < guessing - CLEARLY;
    return [
      ...(isStalled
        ? [["no_gradient", `step ${step}: the gradient is exactly 0, so training has stalled`] as const]
        : []),
      ...(wasBetter && loss > guessing - 1e-3
        ? [
            [
              "guessing",
              `step ${step}: the loss ${loss.toFixed(3)} is no better than guessing (${guessing.toFixed(3)} for ${vocabularySize} tokens), and began at ${firstLoss.toFixed(3)}`,
            ] as const,
          ]
        : []),
    ];
  };
  const checkEvaluation = (event: TrainEvent): readonly (readonly [WarningReason, string])[] => {
    if (event.type !== "evaluation") return [];
    const { step, loss } = event;
    const now: Evaluated = { loss, reward: rewardOf(event) };
    if (step === 0) [base, firstLoss] = [now, loss];
    if (event.best) best = { step, ...now };
    if (step !== steps || base === undefined || isSuccess(now, base)) return [];
    if (keepsBest && best !== undefined) return [];
    const storage =
      best === undefined
        ? "no evaluation was better than the base, so there is no best adapter"
        : `${RUN_FILES.best}/ holds the best one, of step ${best.step} with ${measureOf(best)[1]}`;
    const said = `the validation ${measureOf(now).join(" is ")} after training and ${measureOf(base)[1]} before: this adapter is no better than the base alone; ${storage}`;
    return [["worse_than_base", said]];
  };
  // held-out examples tell more than a batch, but not every run has them
  let isEvaluated = false;
  const checkMetrics = (event: TrainEvent): readonly (readonly [WarningReason, string])[] => {
    isEvaluated ||= event.type === "evaluation";
    if (event.type !== "evaluation" && (event.type !== "step" || isEvaluated)) return [];
    const plain = Object.entries(event.metrics ?? {}).map(([name, x]) => [name.replace(/^eval_/, ""), x]);
    const found = objective.warn?.(Object.fromEntries(plain));
    return found === undefined ? [] : [["objective", `step ${event.step}: ${found}`]];
  };
  return (event) =>
    [...checkStep(event), ...checkEvaluation(event), ...checkMetrics(event)].flatMap(([reason, message]) => {
      if (said.has(reason) || event.type === "checkpoint") return [];
      said.add(reason);
      return [{ type: "warning", reason, step: event.step, message: `${message}; ${advice}` }] as const;
    });
}
