// Constraints on the text of an answer: OpenAI's response_format, vLLM's structured_outputs, llama.cpp's grammar and
// json_schema; and the errors of what cannot be enforced.
import { z } from "@hono/zod-openapi";
import { attempt, MosError, parseJson } from "mixture-of-shards-core/common";
import type { Engine } from "mixture-of-shards-core/inference";
import {
  argumentsSource,
  formatSource,
  jsonSchema,
  type ResponseFormat,
  responseFormat,
  toResponseFormat,
} from "mixture-of-shards-core/text";
import { GrammarError, type GrammarSource, type Notation } from "mixture-of-shards-grammar";
import { ApiError, invalidValue } from "./errors.ts";
import { neutral, ofVllm, optional, renamed, unused } from "./request.ts";
import { checkStrict } from "./strict-subset.ts";
import { invalidParameters, type RequestedTools } from "./tools.ts";

const structuredOutputs = z.strictObject({
  json: optional(
    z.union([jsonSchema, z.string().describe("The schema as text.")]),
    "A JSON value that this schema allows.",
  ),
  regex: optional(z.string().min(1), "A regular expression that the whole answer matches."),
  choice: optional(z.array(z.string()).min(1), "One of these texts."),
  grammar: optional(z.string().min(1), "A grammar in Lark or, where it has ::=, in GBNF."),
  json_object: optional(z.boolean(), "Any JSON object."),
  disable_any_whitespace: optional(
    z.boolean(),
    "No white space in JSON but a blank after commas and colons. Default: true.",
  ),
  disable_fallback: unused(z.boolean()),
  disable_additional_properties: neutral(z.literal(false)),
  whitespace_pattern: renamed("disable_any_whitespace instead"),
  structural_tag: renamed("tools, or a grammar"),
});

/** Fields of chats and completions that constrain the answer. */
export const structuredFields = {
  response_format: optional(responseFormat, "Form of the answer: text, JSON, or JSON of a schema."),
  structured_outputs: ofVllm(structuredOutputs, "one of json, regex, choice, grammar, json_object"),
  grammar: optional(z.string().min(1), "llama.cpp extension: a grammar in GBNF."),
  json_schema: optional(jsonSchema, "llama.cpp extension: a schema of the answer."),
  guided_json: renamed("structured_outputs.json"),
  guided_regex: renamed("structured_outputs.regex"),
  guided_choice: renamed("structured_outputs.choice"),
  guided_grammar: renamed("structured_outputs.grammar"),
  guided_whitespace_pattern: renamed("structured_outputs.disable_any_whitespace"),
  guided_decoding_backend: renamed("structured_outputs without a backend"),
};

type StructuredFields = z.output<z.ZodObject<typeof structuredFields>>;

/** A constraint on the text of an answer: a schema, a grammar, a list of choices. */
export interface OutputConstraint {
  /** The field that asks for it. */
  readonly field: string;
  /** The field that an error of its schema names (`field`), and OpenAI's code for it. */
  readonly param?: string | undefined;
  readonly code?: string | undefined;
  /** The schema, where the model is shown it. */
  readonly responseFormat?: ResponseFormat | undefined;
  /** The grammar, where the model is not told. */
  readonly grammar?: GrammarSource | undefined;
}

/**
 * The constraint that the fields ask for; undefined where any text will do.
 *
 * @throws ApiError 400 for two constraints at once.
 */
export function readConstraint(fields: StructuredFields): OutputConstraint | undefined {
  const { response_format: format } = fields;
  const constraints: readonly OutputConstraint[] = [
    ...(format === undefined || format.type === "text"
      ? []
      : [{ field: "response_format", responseFormat: toResponseFormat(format) }]),
    ...readGrammars(fields),
  ];
  const [first, second] = constraints;
  if (second !== undefined)
    throw invalidValue(
      `${first?.field} and ${second.field} each constrain the answer; send one of them`,
      second.field,
    );
  return first;
}

/** The fields that describe the answer by a grammar. @throws ApiError 400 for structured_outputs without any. */
function readGrammars({ structured_outputs: outputs, grammar, json_schema }: StructuredFields) {
  const { json, regex, choice, grammar: text, json_object, disable_any_whitespace = true } = outputs ?? {};
  const whitespace = disable_any_whitespace ? "compact" : "flexible";
  const structured: Readonly<Record<string, GrammarSource | false>> = {
    json: json !== undefined && { type: "json_schema", schema: readSchema(json), whitespace },
    regex: regex !== undefined && { type: "regex", pattern: regex },
    choice: choice !== undefined && { type: "choice", choices: choice },
    // only GBNF has ::=
    grammar: text !== undefined && { type: text.includes("::=") ? "gbnf" : "lark", text },
    json_object: json_object === true && { type: "json_object", whitespace },
  };
  const ofLlamaCpp: Readonly<Record<string, GrammarSource | false>> = {
    grammar: grammar !== undefined && { type: "gbnf", text: grammar },
    json_schema: json_schema !== undefined && {
      type: "json_schema",
      schema: json_schema,
      whitespace: "compact",
    },
  };
  const given = (sources: typeof structured, prefix = ""): readonly OutputConstraint[] =>
    Object.entries(sources).flatMap(([name, source]) =>
      source === false ? [] : [{ field: `${prefix}${name}`, grammar: source }],
    );
  const found = given(structured, "structured_outputs.");
  if (outputs !== undefined && found.length === 0)
    throw invalidValue(
      "structured_outputs has no constraint; send one of json, regex, choice, grammar, json_object in it",
      "structured_outputs",
    );
  return [...found, ...given(ofLlamaCpp)];
}

/** vLLM's clients send a schema as an object, or as its text. */
function readSchema(schema: z.output<typeof jsonSchema> | string): unknown {
  if (typeof schema !== "string") return schema;
  const where = "structured_outputs.json";
  const read = attempt(() => parseJson(schema, { code: "bad_option", where }));
  if (read instanceof MosError) throw invalidValue(read.message, where, read);
  return read;
}

// What cannot be enforced.

/** What of a request becomes a grammar. */
export interface Demands {
  readonly constraint?: OutputConstraint | undefined;
  readonly tools?: Pick<RequestedTools, "tools" | "choice" | "places"> | undefined;
}

/** The refusal of a grammar behind an error of the engine, if that is what it is about. */
export function refusalOf(error: unknown): GrammarError | undefined {
  const cause = error instanceof MosError && !(error instanceof ApiError) ? error.cause : undefined;
  return cause instanceof GrammarError ? cause : undefined;
}

/** @returns 400 for a constraint that cannot be enforced: of a schema in OpenAI's words. */
export function invalidConstraint(
  { field, param = field, code, responseFormat }: OutputConstraint,
  cause: GrammarError,
): ApiError {
  if (responseFormat?.type !== "json_schema") return invalidValue(`${field}: ${cause.message}`, param, cause);
  const message = `Invalid schema for response_format '${responseFormat.name ?? ""}': ${cause.message}`;
  return new ApiError(message, { status: 400, param, cause, ...(code === undefined ? {} : { code }) });
}

const toolsOf = ({ tools }: Demands) =>
  (tools?.tools ?? []).map((tool, i) => ({ tool, place: tools?.places[i] ?? "tools" }));

/** @throws ApiError 400 for a schema with `strict` that is not in OpenAI's strict subset. */
export function checkStrictness(demands: Demands): void {
  const { constraint } = demands;
  const format = constraint?.responseFormat;
  if (constraint !== undefined && format?.type === "json_schema" && format.strict === true) {
    const problem = checkStrict(format.schema);
    if (problem !== undefined) throw invalidConstraint(constraint, problem);
  }
  for (const { tool, place } of toolsOf(demands)) {
    if (tool.type !== "function" || tool.strict !== true) continue;
    const cause = checkStrict(tool.parameters ?? EMPTY);
    if (cause !== undefined) throw invalidParameters(tool, { place, reason: cause.message, cause });
  }
}

/** Parameters of a function without any. */
const EMPTY = { type: "object", properties: {}, required: [], additionalProperties: false };

/** Milliseconds for finding out which tools are to blame. */
const SEARCH_MILLISECONDS = 2000;

/**
 * Functions that are not strict and whose parameters cannot be enforced: at least one.
 *
 * @throws ApiError 400 for anything else that cannot be enforced, by its field; MosError `busy` as the engine.
 */
export async function findUnenforceable(
  engine: Pick<Engine, "checkGrammar">,
  demands: Demands,
  {
    refusal,
    tenant,
    notation,
  }: {
    readonly refusal: GrammarError;
    readonly tenant: string;
    /** How the model writes arguments (JSON). */
    readonly notation?: Notation | undefined;
  },
): Promise<readonly string[]> {
  const { constraint, tools } = demands;
  // nothing else is to blame, and to compile it again takes as long
  if (constraint !== undefined && tools === undefined) throw invalidConstraint(constraint, refusal);
  const signal = AbortSignal.timeout(SEARCH_MILLISECONDS);
  const check = async (source: GrammarSource | undefined): Promise<GrammarError | undefined> => {
    if (source === undefined || signal.aborted) return undefined;
    return await engine.checkGrammar(source, { tenant, signal }).then(
      () => undefined,
      (error: unknown) => {
        if (error instanceof MosError && error.code === "busy") throw error;
        return refusalOf(error);
      },
    );
  };
  const problem = await check(constraintSource(constraint));
  if (constraint !== undefined && problem !== undefined) throw invalidConstraint(constraint, problem);
  const { names } = tools?.choice ?? {};
  const callable = toolsOf(demands).filter(({ tool }) => names?.includes(tool.name) !== false);
  const unenforced: string[] = [];
  for (const { tool, place } of callable) {
    const cause = await check(argumentsSource(tool, { notation }));
    if (cause === undefined) continue;
    const reason = cause.message;
    if (tool.type === "custom") throw invalidValue(`${place}.format: ${reason}`, `${place}.format`, cause);
    if (tool.strict === true) throw invalidParameters(tool, { place, reason, cause });
    unenforced.push(tool.name);
  }
  if (unenforced.length > 0) return unenforced;
  const field = callable.length > 0 ? "tools" : (constraint?.field ?? "response_format");
  throw invalidValue(`${field}: ${refusal.message}`, field, refusal);
}

export const constraintSource = (constraint: OutputConstraint | undefined): GrammarSource | undefined =>
  constraint?.grammar ?? formatSource(constraint?.responseFormat);
