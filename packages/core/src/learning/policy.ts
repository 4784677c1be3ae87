// When and how a model learns from its lessons.
import { z } from "zod";
import { adjust, type SettingValues, setting } from "#common";
import { graderSchema } from "#graders";
import { objectiveSettings } from "#training";
import { gateSettings } from "./gate.ts";

/** Settings of what is learnt and how: a night by hand has them, too. */
export const learningSettings = {
  objective: setting(z.enum(["sft", "sdft"]), {
    default: "sft",
    common: true,
    help: "how lessons are learnt: from the wanted answers (sft), or from a teacher that reads them or the remarks (sdft)",
  }),
  startFrom: setting(z.enum(["base", "current"]), {
    default: "base",
    common: true,
    help: "what a candidate is trained from: the base with all lessons, or the current version with the new ones and a replay of earlier ones",
  }),
  replay: setting(z.number().min(0).max(10), {
    default: 1,
    placeholder: "share",
    help: "with --start-from current, earlier lessons that are trained again, for each new one",
  }),
  heldOut: setting(z.number().min(0).max(0.9), {
    default: 0.25,
    placeholder: "share",
    help: "share of the lessons that are held out as cases, by a digest of their prompts",
  }),
  grader: setting(graderSchema.describe('a grader, such as {"type": "string_check", …}'), {
    file: true,
    placeholder: "file",
    defaultText: "the answer must equal the wanted one",
    help: "JSON file with the grader of answers to lessons that have none of their own; item.reference is the wanted answer",
  }),
  maxCompletionLength: adjust(objectiveSettings.maxCompletionLength, { default: 128 }),
  maxMinutes: setting(z.number().gt(0).max(1440), {
    default: 60,
    common: true,
    placeholder: "n",
    help: "longest time of training, in minutes; the candidate is what was reached by then",
  }),
  maxTokens: setting(z.int().min(1), {
    defaultText: "any number",
    placeholder: "n",
    help: "most tokens that a candidate may be trained on; more lessons are refused",
  }),
  ...gateSettings,
};
/** Their values. */
export type LearningSettings = SettingValues<typeof learningSettings>;

/** Settings of when a server learns by itself. */
export const scheduleSettings = {
  afterLessons: setting(z.int().min(1).max(100_000), {
    default: 10,
    placeholder: "n",
    help: "new lessons from which a night begins",
  }),
  hours: setting(
    z
      .string()
      .regex(/^([01]?\d|2[0-3])-([01]?\d|2[0-3])$/, "two hours of the day in UTC, such as 22-6")
      .describe("two hours of the day in UTC, such as 22-6"),
    { defaultText: "all day", help: "hours of the day, in UTC, within which a night begins" },
  ),
  idleSeconds: setting(z.int().min(0).max(86_400), {
    default: 60,
    placeholder: "seconds",
    help: "time without requests before a night begins",
  }),
  keepVersions: setting(z.int().min(0).max(1000), {
    default: 10,
    placeholder: "n",
    help: "earlier versions that are kept to go back to",
  }),
};

/** How the model of an alias learns: the settings of a night, and when there is one. */
export const policySettings = { ...learningSettings, ...scheduleSettings };
/** Its values, defaults filled in. */
export type LearningPolicy = SettingValues<typeof policySettings>;
