// Limits of fine-tuning in API keys. Their options are of mos keys, which loads this file alone.

import { group } from "mixture-of-shards/kit";
import type { ApiKey } from "mixture-of-shards/server";
import { bytes, type SettingInput, setting } from "mixture-of-shards-core/common";
import { z } from "zod";

/** Limits of a key's jobs and files, the `fine_tuning` of a key. Missing ones are unlimited. */
export const keyLimits = {
  name: "fine_tuning",
  options: group("New key's fine-tuning jobs", {
    maxActiveJobs: setting(z.int().min(0), { help: "maximum number of unfinished jobs" }),
    maxRunningJobs: setting(z.int().min(1), { help: "maximum number of jobs that train at the same time" }),
    maxStepsPerJob: setting(z.int().min(1), { help: "maximum number of steps per job" }),
    maxTokensPerJob: setting(z.int().min(1), {
      help: "maximum number of trained tokens per job, over all epochs",
    }),
    maxStorageBytes: setting(bytes(), {
      help: "maximum total size of the tenant's files, feedback and lessons",
    }),
    learningDays: setting(z.int().min(1).max(3650), {
      defaultText: "no lessons",
      help: "allow lessons from the key's feedback, and delete them after so many days",
    }),
    priority: setting(z.int().min(-10).max(10), {
      help: "default and maximum job priority (higher runs first)",
    }),
  }),
};

type SnakeCase<Name extends string> = Name extends `${infer First}${infer Rest}`
  ? `${First extends Lowercase<First> ? First : `_${Lowercase<First>}`}${SnakeCase<Rest>}`
  : "";
type LimitSettings = typeof keyLimits.options;

/** Limits of a key as its file has them. */
export type FineTuningLimits = {
  readonly [Name in keyof LimitSettings & string as SnakeCase<Name>]?: SettingInput<LimitSettings>[Name];
};

/** Limits of a key, which the reader of its file has checked. */
export const toLimits = ({ limits }: Pick<ApiKey, "limits">): FineTuningLimits =>
  Object(limits?.[keyLimits.name]);
