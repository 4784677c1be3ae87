// The same job from a terminal and from a program. What is in them comes from the request that Start sends, and nothing else.
import type { JobBody } from "./draft.ts";

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

/** Fields that only a service has. */
const ONLY_JOBS: ReadonlySet<string> = new Set(["priority", "expires_after", "checkpoints_expire_after"]);

/** Options that have other names than their fields. */
const OPTION_NAMES: Readonly<Record<string, string>> = { adapter: "method", target_modules: "targets" };

const optionName = (name: string): string => (OPTION_NAMES[name] ?? name).replaceAll("_", "-");

function toOption([name, value]: readonly [string, unknown]): string {
  const option = optionName(name);
  if (typeof value === "boolean") return value ? `--${option}` : `--no-${option}`;
  const text = Array.isArray(value)
    ? value.join(",")
    : typeof value === "object"
      ? JSON.stringify(value)
      : String(value);
  // a value that looks like an option belongs to this one
  return text.startsWith("-") ? shellQuote(`--${option}=${text}`) : `--${option} ${shellQuote(text)}`;
}

/** The files of a job, and its base. */
interface TrainingNames {
  readonly base: string;
  readonly trainingName: string;
  readonly validationName: string | undefined;
  /** Flags that are on unless they are switched off, and so have no option for it. */
  readonly standardFlags: ReadonlySet<string>;
}

/** `mos train` with the same settings, on files of the same names. A job holds nothing out unless it is given. */
export function toTrainCommand(
  { model, suffix, mos = {} }: JobBody,
  { base, trainingName, validationName, standardFlags }: TrainingNames,
): string {
  const options = Object.entries(mos).filter(
    ([name, value]) =>
      !ONLY_JOBS.has(name) && !(typeof value === "boolean" && value === standardFlags.has(name)),
  );
  return continued([
    `mos train --model ${shellQuote(base)}`,
    toOption(["data", trainingName]),
    toOption(validationName === undefined ? ["validation_split", 0] : ["validation_data", validationName]),
    ...(model === base ? [] : [toOption(["from_adapter", model])]),
    ...options.map(toOption),
    toOption(["out", suffix ?? "adapter"]),
  ]);
}
