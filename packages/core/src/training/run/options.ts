// Options of a run, as `finetune` and `previewRun` take them.

import type { SessionOptions } from "mixture-of-shards-graph";
import { z } from "zod";
import { type AdapterConfigInput, adapterSettings } from "#adapters";
import { checkCall, type FreeMemory, kinds, type OptionKinds } from "#common";
import type { BaseModel, LoadOptions, LocateOptions } from "#models";
import type { GraderInputs } from "../rollouts/grader.ts";
import { type FinetuneSettingsInput, finetuneSettings } from "../settings.ts";
import type { DataInput } from "./data.ts";

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
  /** Versions of an adapter that are kept when it is replaced; 3. */
  readonly keepVersions?: number;
  /** Tokens that the whole run may train, before a resume too; left out, any number. */
  readonly maxTokens?: number;
  /** Seconds after which a checkpoint is saved, also within a step or an evaluation; left out, `saveEvery` alone says when. */
  readonly saveSeconds?: number;
  readonly session?: SessionOptions;
  /** Free memory of the machine; read from the system by default. */
  readonly free?: FreeMemory;
  /** Bytes that may still be written to the disk of a folder; asked of the system without it. */
  readonly freeBytes?: (folder: string) => Promise<number>;
  /** Milliseconds of a steady clock, for rates and `saveSeconds`. */
  readonly now?: () => number;
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
  keepVersions: kinds.number.optional(),
  maxTokens: kinds.number.optional(),
  saveSeconds: kinds.number.optional(),
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
