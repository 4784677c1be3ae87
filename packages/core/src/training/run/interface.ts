// What a run takes and what it gives: options of `finetune` and `previewRun`, and events.

import type { SessionOptions } from "mixture-of-shards-graph";
import { z } from "zod";
import { type AdapterConfig, type AdapterConfigInput, adapterSettings, type Budget } from "#adapters";
import { checkCall, type FreeMemory, kinds, type MemoryPlan, type OptionKinds } from "#common";
import type { EncodingReport, ExampleInput } from "#data";
import {
  type BaseModel,
  type ComputeDtype,
  type DownloadEvent,
  describeStorage,
  type LoadOptions,
  type LocateOptions,
  parameterCount,
} from "#models";
import type { ReferenceEvent } from "../reference.ts";
import type { GraderInputs } from "../rollouts/grader.ts";
import { type ChosenSettings, type FinetuneSettingsInput, finetuneSettings } from "../settings.ts";
import type { Rematerialise } from "../step-graph.ts";
import type { TrainEvent } from "../trainer.ts";
import type { AugmentedCounts, ReplayEvent } from "./augment.ts";
import type { Outcome } from "./outcome.ts";
import type { RunPlan } from "./plan.ts";

/**
 * Names of data, or examples, each as a line of a file would have it. An iterable is gone through once, so that a generator
 * serves one run.
 * @inline
 */
export type DataInput = string | readonly string[] | Iterable<ExampleInput> | AsyncIterable<ExampleInput>;

/** An adapter that a run starts from. @inline */
export interface SavedStart {
  /** Its folder, which the run does not change. */
  readonly from: string;
}

/** Options of fine-tuning. */
export interface FinetuneOptions extends LocateOptions, GraderInputs, Pick<LoadOptions, "onProgress"> {
  /** A model folder, a .gguf file, org/name of the hub, or a model that is already loaded. */
  readonly model: string | BaseModel;
  /** Files, patterns such as `data/*.jsonl`, data sets of the hub as `org/name`, or the examples themselves. */
  readonly data: DataInput;
  /** The validation split; without it a part of `data` is held out. */
  readonly validationData?: DataInput;
  /** The folder of the adapter and of its run. */
  readonly out: string;
  /**
   * The settings of a new adapter, or the folder of one whose settings and parameters the run starts from; Mixture of Shards
   * with its defaults by default.
   */
  readonly adapter?: AdapterConfigInput | SavedStart | undefined;
  readonly settings?: FinetuneSettingsInput;
  /** Resume from the last checkpoint in `out`. */
  readonly resume?: boolean;
  /** Replace what `out` holds; an adapter that is there stays until the new one is complete. */
  readonly overwrite?: boolean;
  /** Write the metrics as event files of TensorBoard, too, in `tensorboard/` beside metrics.jsonl. */
  readonly tensorboard?: boolean;
  /** Begins to follow the metrics of the run, which has a record in its folder by then. It may take what time it needs. */
  readonly follow?: ((run: string) => Promise<RunFollower>) | undefined;
  /** Versions of an adapter that are kept when it is replaced; 3. */
  readonly keepVersions?: number;
  /** Tokens that the whole run may train, before a resume too; left out, any number. */
  readonly maxTokens?: number;
  /** Seconds after which a checkpoint is saved, also within a step or an evaluation; left out, `saveEvery` alone says when. */
  readonly saveSeconds?: number;
  /** Where the base's own answers are kept for further runs on it; without it they are asked for in each. */
  readonly cacheFolder?: string | undefined;
  readonly session?: SessionOptions;
  /** Free memory of the machine; read from the system by default. */
  readonly free?: FreeMemory;
  /** Bytes that may still be written to the disk of a folder; asked of the system without it. */
  readonly freeBytes?: (folder: string) => Promise<number>;
  /** Milliseconds of a steady clock, for rates and `saveSeconds`. */
  readonly now?: () => number;
}

/** Reads the metrics of a run beside it. @inline */
export interface RunFollower {
  /** The run is over, or was stopped; its folder may be moved afterwards. */
  end(how: { readonly isComplete: boolean }): Promise<unknown>;
}

/** A run that may have no folder. */
export type RunOptions = Omit<FinetuneOptions, "out"> & Partial<Pick<FinetuneOptions, "out">>;

const sessionKinds: OptionKinds<SessionOptions> = {
  device: z.string().optional(),
  threads: kinds.number.optional(),
  profile: z.string().optional(),
  inlineLimit: kinds.number.optional(),
};

const runOptionKinds: OptionKinds<RunOptions> = {
  model: z.union([z.string(), kinds.object]),
  data: z.union([z.string(), kinds.array, kinds.object]),
  validationData: z.union([z.string(), kinds.array, kinds.object]).optional(),
  adapter: adapterSettings,
  settings: finetuneSettings,
  out: z.string().optional(),
  reward: kinds.function.optional(),
  scoreModel: kinds.function.optional(),
  pythonGraders: kinds.object.optional(),
  teacherAccess: kinds.object.optional(),
  resume: z.boolean().optional(),
  overwrite: z.boolean().optional(),
  tensorboard: z.boolean().optional(),
  follow: kinds.function.optional(),
  keepVersions: kinds.number.optional(),
  maxTokens: kinds.number.optional(),
  saveSeconds: kinds.number.optional(),
  cacheFolder: z.string().optional(),
  session: kinds.object.optional(),
  free: kinds.object.optional(),
  freeBytes: kinds.function.optional(),
  now: kinds.function.optional(),
  onProgress: kinds.function.optional(),
  hub: kinds.object.optional(),
  signal: kinds.object.optional(),
};

/** Checks the kinds of options, with those that a function has besides. Throws `bad_option`. */
export function checkRunOptions<Options extends RunOptions>(
  name: string,
  options: Options,
  more: Partial<OptionKinds<Options>>,
): void {
  checkCall<Options>(name, options, { ...runOptionKinds, ...more } as OptionKinds<Options>);
  if (options.session !== undefined) checkCall<SessionOptions>("session", options.session, sessionKinds);
}

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
      /** What there is besides the examples, where there is anything. */
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
      /** The run ends with this checkpoint, as planned or early. */
      readonly isLast?: boolean;
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
  /** Why the run ended: all updates are made, evaluations got no better, or nothing was left to learn. */
  readonly reason: "complete" | "early_stopping" | "learnt";
}

/**
 * The gradient is exactly 0, so that nothing changes any more; the loss is that of guessing, though it was lower; the
 * evaluation after training is no better than before; the adapter was trained on other token ids; much of what the base knew is
 * lost; a tracker does not take the metrics of a job; or what the objective finds wrong with its metrics.
 */
export type WarningReason =
  | "no_gradient"
  | "guessing"
  | "worse_than_base"
  | "other_tokens"
  | "forgotten"
  | "tracker"
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
