// Messages between a supervisor and its trainer.
import type { FinetuneEvent, FinetuneOptions, FinetuneSettingsInput, RunPreview } from "mixture-of-shards";

/** A slice to train: a run in a folder, from its last checkpoint where there is one. */
export interface TrainRequest {
  readonly type: "train";
  /** The folder or file of the base. */
  readonly model: string;
  readonly data: string;
  readonly validationData: string | undefined;
  readonly out: string;
  readonly resume: boolean;
  readonly adapter: FinetuneOptions["adapter"];
  readonly settings: FinetuneSettingsInput;
  /** Tokens that the whole job may train; undefined for any number. */
  readonly maxTokens: number | undefined;
  readonly threads: number;
}

/** A run to preview. */
export interface PreviewRequest
  extends Pick<TrainRequest, "model" | "data" | "validationData" | "adapter" | "settings" | "threads"> {
  /** Lines of the data; without them the first ones. */
  readonly lines?: readonly number[];
  /** Tokens of a line at most. */
  readonly maxShown: number;
}

/** Result of a preview. */
export type PreviewReport =
  | { readonly type: "preview"; readonly preview: RunPreview }
  | { readonly type: "failed"; readonly code: string; readonly message: string };

/** Result of checking an uploaded file: its problem, or that it could not be checked. */
export type CheckReport =
  | { readonly type: "checked"; readonly wrong: string | undefined }
  | { readonly type: "failed"; readonly message: string };

/** To the trainer. */
export type ToTrainer =
  | TrainRequest
  /** A checkpoint was copied: go on. */
  | { readonly type: "continue" }
  /** Save a checkpoint and end the slice. */
  | { readonly type: "stop" };

/** From the trainer. */
export type FromTrainer =
  | { readonly type: "event"; readonly event: FinetuneEvent }
  /** The trainer waits for "continue" after one that says "saved". */
  | { readonly type: "ended"; readonly isComplete: boolean }
  | { readonly type: "failed"; readonly code: string; readonly message: string };
