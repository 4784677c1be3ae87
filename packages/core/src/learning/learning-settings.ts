// How a model learns from its lessons.
import { z } from "zod";
import { adjust, type SettingValues, setting } from "#common";
import { graderSchema } from "#graders";
import { objectiveSettings } from "#training";
import { gateSettings } from "./gate.ts";

/** Settings of what is learnt, how, and when a candidate is better. */
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
