// Events of a run, and what they show of its base.
import type { AdapterConfig, Budget } from "#adapters";
import type { FreeMemory, MemoryPlan } from "#common";
import type { EncodingReport } from "#data";
import { type ComputeDtype, type DownloadEvent, describeStorage, parameterCount } from "#models";
import type { ReferenceEvent } from "../reference.ts";
import type { ChosenSettings } from "../settings.ts";
import type { Rematerialise } from "../step-graph.ts";
import type { TrainEvent } from "../trainer.ts";
import type { AugmentedCounts, ReplayEvent } from "./augment.ts";
import type { Outcome } from "./outcome.ts";
import type { RunPlan } from "./plan.ts";

/**
 * Event of a run: perhaps a `download`, `memory` and `ready` once, then updates, evaluations and saved files; at
 * the end `finish`, or `stopped` where the signal was aborted.
 */
export type FinetuneEvent =
  | DownloadEvent
  | ReplayEvent
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
      /** What is learnt besides the examples, where there is anything. */
      readonly augmented: AugmentedCounts | undefined;
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
  /** What was taught and lost, before `finish`. */
  | ({ readonly type: "outcome"; readonly step: number } & Outcome)
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
 * evaluation after training is no better than before; the adapter was trained on other token ids; much of what the base knew is
 * lost; or what the objective finds wrong with its metrics.
 */
export type WarningReason =
  | "no_gradient"
  | "guessing"
  | "worse_than_base"
  | "other_tokens"
  | "forgotten"
  | "objective";

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
