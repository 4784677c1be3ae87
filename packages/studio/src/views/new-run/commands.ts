// The same job from a terminal and from a program. What is in them comes from the request that Start sends, and nothing else.
import type { JobBody } from "./draft.ts";
import type { SettingField } from "./fields.ts";

const PLAIN = /^[\w@%+=:,./-]+$/;

/** A word of a POSIX shell, whatever is in it. */
export const shellQuote = (text: string): string =>
  PLAIN.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;

/** Parts of a command, each on a line of its own. */
const continued = (parts: readonly string[]): string => parts.join(" \\\n  ");

/** Where the job is made, and how. */
export interface Target {
  /** The server's address with `/v1`. */
  readonly api: string;
  readonly needsKey: boolean;
}

/** `curl` with the body of Start. */
export function toCurl(body: JobBody, { api, needsKey }: Target): string {
  return continued([
    `curl ${shellQuote(`${api}/fine_tuning/jobs`)}`,
    ...(needsKey ? [`-H "Authorization: Bearer $MOS_API_KEY"`] : []),
    "-H 'Content-Type: application/json'",
    `-d ${shellQuote(JSON.stringify(body, undefined, 2))}`,
  ]);
}

/** A value as TypeScript writes it: JSON, whose names need quotes only where they are no identifiers. */
const toLiteral = (value: unknown): string =>
  JSON.stringify(value, undefined, 2).replace(/^( *)"([A-Za-z_]\w*)":/gm, "$1$2:");

/** OpenAI's client with the body of Start. Its types do not have `mos`. */
export function toTypeScript(body: JobBody, { api, needsKey }: Target): string {
  const key = needsKey ? "process.env.MOS_API_KEY" : '"none"';
  return `import OpenAI from "openai";

const client = new OpenAI({ baseURL: ${JSON.stringify(api)}, apiKey: ${key} });
const body = ${toLiteral(body)};
const job = await client.fineTuning.jobs.create(
  body as OpenAI.FineTuning.JobCreateParams,
);
console.log(job.id);
`;
}

/** An option with its value. */
function toOption(option: string, value: unknown): string {
  const text = Array.isArray(value)
    ? value.join(",")
    : typeof value === "object"
      ? JSON.stringify(value)
      : String(value);
  // a value that looks like an option belongs to this one
  return text.startsWith("-") ? shellQuote(`${option}=${text}`) : `${option} ${shellQuote(text)}`;
}

/** The files of a job, and its base. */
interface TrainingNames {
  readonly base: string;
  readonly trainingName: string;
  readonly validationName: string | undefined;
  readonly fields: readonly SettingField[];
}

/** `mos train` with the same settings, on files of the same names. A job holds nothing out unless it is given. */
export function toTrainCommand(
  { model, suffix, mos = {} }: JobBody,
  { base, trainingName, validationName, fields }: TrainingNames,
): string {
  const options = Object.entries(mos).flatMap(([name, value]) => {
    const { option, standard } = fields.find((field) => field.name === name) ?? {};
    if (option === undefined) return [];
    if (typeof value !== "boolean") return toOption(option, value);
    return String(value) === standard ? [] : option;
  });
  return continued([
    `mos train --model ${shellQuote(base)}`,
    toOption("--data", trainingName),
    validationName === undefined ? "--validation-split 0" : toOption("--validation-data", validationName),
    ...(model === base ? [] : [toOption("--from-adapter", model)]),
    ...options,
    toOption("--out", suffix ?? "adapter"),
  ]);
}
