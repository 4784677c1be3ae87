// What a supervisor and its trainer say to each other.
import type { FinetuneEvent, FinetuneOptions, FinetuneSettingsInput, RunPreview } from "mixture-of-shards";

/** A slice to train: a run in a folder, from its last checkpoint where there is one. */
export interface TrainOrder {
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
export interface PreviewOrder
  extends Pick<TrainOrder, "model" | "data" | "validationData" | "adapter" | "settings" | "threads"> {
  /** Lines of the data; without them the first ones. */
  readonly lines?: readonly number[];
  /** Tokens of a line at most. */
  readonly maxShown: number;
}

/** What comes of it. */
export type PreviewReport =
  | { readonly type: "preview"; readonly preview: RunPreview }
  | { readonly type: "failed"; readonly code: string; readonly message: string };

/** What a check of an uploaded file says: what is wrong with it, or that it could not be checked. */
export type CheckReport =
  | { readonly type: "checked"; readonly wrong: string | undefined }
  | { readonly type: "failed"; readonly message: string };

/** To the trainer. */
export type Order =
  | TrainOrder
  /** A checkpoint was copied: go on. */
  | { readonly type: "continue" }
  /** Save a checkpoint and end the slice. */
  | { readonly type: "stop" };

/** From the trainer. */
export type Report =
  | { readonly type: "event"; readonly event: FinetuneEvent }
  /** The trainer waits for "continue" after one that says "saved". */
  | { readonly type: "ended"; readonly isComplete: boolean }
  | { readonly type: "failed"; readonly code: string; readonly message: string };
