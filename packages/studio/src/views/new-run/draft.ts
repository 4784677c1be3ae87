// What somebody has chosen in the form, and the request that it stands for.
import { fieldOf, parseField, type SettingField, showValue } from "./fields.ts";

/** A form as it is filled in. */
export interface Draft {
  /** The served base, or a model that was fine-tuned from it. */
  readonly model: string;
  readonly trainingFile: string;
  readonly validationFile: string;
  readonly method: string;
  /** Name of the model. */
  readonly suffix: string;
  /** Texts of settings by their names; those that are empty are left to the data. */
  readonly values: Readonly<Record<string, string>>;
}

/** The body of a job. */
export interface JobBody {
  readonly model: string;
  readonly training_file: string;
  readonly validation_file?: string;
  readonly suffix?: string;
  readonly mos?: Readonly<Record<string, unknown>>;
}

/** A body, and what is wrong with fields that are not in it. */
export interface Drafted {
  readonly body: JobBody;
  /** By the names that the API gives them, such as `mos.steps`. */
  readonly problems: Readonly<Record<string, string>>;
}

export const EMPTY_DRAFT: Draft = {
  model: "",
  trainingFile: "",
  validationFile: "",
  method: "mos",
  suffix: "",
  values: {},
};

interface DraftContext {
  readonly fields: readonly SettingField[];
  /** The base that this server serves. */
  readonly base: string;
  /** What the training file is for, where no objective was chosen. */
  readonly objective?: string | undefined;
}

/** The settings that are open in this draft. A fine-tuned model brings those of its adapter with it. */
export const openFields = (
  { method, model }: Draft,
  { fields, base }: DraftContext,
): readonly SettingField[] =>
  fields
    .filter(({ name, methods }) => name !== "adapter" && (model === base || methods === undefined))
    .flatMap((field) => fieldOf(field, method) ?? []);

/** The request of a draft. Steps, where they are given, decide instead of epochs. */
export function toRequest(draft: Draft, context: DraftContext): Drafted {
  const { model, method, trainingFile, validationFile, suffix, values } = draft;
  const problems: Record<string, string> = {};
  const mos: Record<string, unknown> = model === context.base ? { adapter: method } : {};
  const given: Draft["values"] = { ...values, objective: values["objective"] || (context.objective ?? "") };
  for (const field of openFields(draft, context)) {
    const text = given[field.name] ?? "";
    if (text.trim() === "") continue;
    const parsed = parseField(text, field);
    if ("value" in parsed) mos[field.name] = parsed.value;
    else problems[`mos.${field.name}`] = parsed.problem;
  }
  if (suffix.length > 64) problems["suffix"] = "Use at most 64 characters";
  return {
    problems,
    body: {
      model,
      training_file: trainingFile,
      ...(validationFile === "" ? {} : { validation_file: validationFile }),
      ...(suffix.trim() === "" ? {} : { suffix: suffix.trim() }),
      ...(Object.keys(mos).length === 0 ? {} : { mos }),
    },
  };
}

/** What is read of a job that is to be done again. */
interface KnownJob {
  readonly model: string;
  readonly training_file: string;
  readonly validation_file: string | null;
  readonly user_provided_suffix: string | null;
  readonly mos: Readonly<Record<string, unknown>>;
}

/**
 * The draft that repeats a job, with the settings that its data decided. A job of steps has no epochs, which would be others
 * with other data.
 */
export function fromJob(job: KnownJob, fields: readonly SettingField[]): Draft {
  const { mos } = job;
  const hasSteps = typeof mos["steps"] === "number";
  const known = fields.filter(({ name }) => name !== "adapter" && !(name === "epochs" && hasSteps));
  const values = known.flatMap(({ name }) => {
    const value = mos[name];
    return value === undefined || value === null ? [] : [[name, showValue(value)] as const];
  });
  return {
    model: job.model,
    trainingFile: job.training_file,
    validationFile: job.validation_file ?? "",
    method: typeof mos["adapter"] === "string" ? mos["adapter"] : EMPTY_DRAFT.method,
    suffix: job.user_provided_suffix ?? "",
    values: Object.fromEntries(values),
  };
}
