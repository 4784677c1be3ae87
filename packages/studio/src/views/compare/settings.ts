// What a comparison asks of all its models, and the request that asks one of them.
import { isFields } from "#core";
import type { Message } from "./messages.ts";

export interface Settings {
  /** `chat` sends messages through the model's template; `text` continues the prompt as it is, for models without one. */
  readonly mode: "chat" | "text";
  readonly system: string;
  readonly temperature?: number | undefined;
  readonly topP?: number | undefined;
  readonly maxTokens?: number | undefined;
  /** Without one, each run draws its own, the same for all models. */
  readonly seed?: number | undefined;
  /** JSON, or nothing. */
  readonly tools: string;
  readonly schema: string;
  /** Asks for log-probabilities, with this many alternatives of each token. */
  readonly logprobs: boolean;
}

export const NO_SETTINGS: Settings = { mode: "chat", system: "", tools: "", schema: "", logprobs: false };

/** Tokens of a text that is continued: the API's own default, 16, is a line. */
export const TEXT_TOKENS = 200;

/** Alternatives of each token. */
const ALTERNATIVES = 5;

/** Numbers that a setting takes. */
export const RANGES = {
  temperature: { min: 0, max: 2 },
  topP: { min: 0, max: 1 },
  maxTokens: { min: 1, max: 1_000_000 },
  seed: { min: 0, max: Number.MAX_SAFE_INTEGER },
} as const;

/** What is wrong, by setting. */
export function checkSettings(settings: Settings): Readonly<Partial<Record<keyof Settings, string>>> {
  const problems: { -readonly [K in keyof Settings]?: string } = {};
  for (const name of ["temperature", "topP", "maxTokens", "seed"] as const) {
    const problem = checkNumber(name, settings[name]);
    if (problem !== undefined) problems[name] = problem;
  }
  const [tools, schema] = [readTools(settings.tools), readSchema(settings.schema)];
  if (tools.problem !== undefined) problems.tools = tools.problem;
  if (schema.problem !== undefined) problems.schema = schema.problem;
  return problems;
}

function checkNumber(name: keyof typeof RANGES, value: number | undefined): string | undefined {
  if (value === undefined) return undefined;
  const { min, max } = RANGES[name];
  const isWhole = name === "maxTokens" || name === "seed";
  if (value >= min && value <= max && (!isWhole || Number.isInteger(value))) return undefined;
  return `${value} is not ${isWhole ? "a whole number" : "a number"} from ${min} to ${max}`;
}

/** A value read from text, none where there is no text, or what is wrong with it. */
interface Read<T> {
  readonly value?: T;
  readonly problem?: string;
}

function readJson(text: string): Read<unknown> {
  if (text.trim() === "") return {};
  try {
    return { value: JSON.parse(text) as unknown };
  } catch (error) {
    return { problem: `This is not JSON: ${error instanceof Error ? error.message : String(error)}` };
  }
}

/** Tools in OpenAI's form; a function that stands alone gets the object around it. */
export function readTools(text: string): Read<readonly object[]> {
  const { value, ...problem } = readJson(text);
  if (value === undefined) return problem;
  const entries: readonly unknown[] = Array.isArray(value) ? value : [value];
  const tools: object[] = [];
  for (const [i, tool] of entries.entries()) {
    const isNamed = isFields(tool) && typeof tool["name"] === "string" && !isFields(tool["function"]);
    if (!isFields(tool)) return { problem: `Tool ${i + 1} is not an object` };
    if (!isNamed && !isFields(tool["function"]) && !isFields(tool["custom"]))
      return { problem: `Tool ${i + 1} has neither "function" nor "name"` };
    tools.push(isNamed ? { type: "function", function: withoutType(tool) } : { type: "function", ...tool });
  }
  return tools.length === 0 ? {} : { value: tools };
}

const withoutType = ({ type: _, ...rest }: Readonly<Record<string, unknown>>): object => rest;

/** A JSON Schema; OpenAI's form with the schema inside is taken, too. */
export function readSchema(text: string): Read<object> {
  const { value, ...problem } = readJson(text);
  if (value === undefined) return problem;
  if (!isFields(value)) return { problem: 'A schema is an object, such as {"type": "object"}' };
  return { value: isFields(value["schema"]) ? value["schema"] : value };
}

/** The request that streams one model's answer. */
export function toRequest(
  settings: Settings,
  {
    model,
    messages,
    seed,
  }: { readonly model: string; readonly messages: readonly Message[]; readonly seed: number },
) {
  const { mode, temperature, topP } = settings;
  const maxTokens = settings.maxTokens ?? (mode === "text" ? TEXT_TOKENS : undefined);
  const schema = readSchema(settings.schema).value;
  const shared = {
    model,
    seed,
    stream: true,
    stream_options: { include_usage: true },
    ...(temperature === undefined ? {} : { temperature }),
    ...(topP === undefined ? {} : { top_p: topP }),
    ...(maxTokens === undefined ? {} : { max_tokens: maxTokens }),
    ...(schema === undefined
      ? {}
      : { response_format: { type: "json_schema", json_schema: { name: "answer", schema } } }),
  };
  if (mode === "text") {
    const logprobs = settings.logprobs ? { logprobs: ALTERNATIVES } : {};
    const prompt = messages.map(({ content }) => content).join("");
    return { path: "/v1/completions", body: { ...shared, prompt, ...logprobs } } as const;
  }
  const tools = readTools(settings.tools).value;
  return {
    path: "/v1/chat/completions",
    body: {
      ...shared,
      messages,
      ...(tools === undefined ? {} : { tools }),
      ...(settings.logprobs ? { logprobs: true, top_logprobs: ALTERNATIVES } : {}),
    },
  } as const;
}
