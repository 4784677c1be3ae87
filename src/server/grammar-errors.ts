// Refusals of grammars, as errors that name the field of the request that is to blame.
import { checkStrict, GrammarError, type GrammarSource } from "mixture-of-shards-grammar";
import { MosError, omitUndefined } from "#core";
import type { Engine } from "#inference";
import { formatSource, type Tool } from "#text";
import { ApiError, invalidValue } from "./errors.ts";
import type { OutputConstraint } from "./structured.ts";
import { invalidParameters, type RequestedTools } from "./tools.ts";

/** What of a request becomes a grammar. */
export interface Demands {
  readonly constraint?: OutputConstraint | undefined;
  readonly tools?: Pick<RequestedTools, "tools" | "choice" | "placeOf"> | undefined;
}

/** The refusal of a grammar behind an error of the engine, if that is what it is about. */
export function refusalOf(error: unknown): GrammarError | undefined {
  const cause = error instanceof MosError && !(error instanceof ApiError) ? error.cause : undefined;
  return cause instanceof GrammarError ? cause : undefined;
}

const isBusy = (error: unknown): boolean => error instanceof MosError && error.code === "busy";

/** @returns 400 for a constraint that cannot be enforced: of a schema in OpenAI's words. */
export function invalidConstraint(
  { field, param = field, code, responseFormat }: OutputConstraint,
  cause: GrammarError,
): ApiError {
  if (responseFormat?.type !== "json_schema") return invalidValue(`${field}: ${cause.message}`, param, cause);
  const message = `Invalid schema for response_format '${responseFormat.name ?? ""}': ${cause.message}`;
  return new ApiError(message, { status: 400, param, cause, ...omitUndefined({ code }) });
}

/** The tools of a request, each with its place. */
const toolsOf = ({ tools }: Demands) =>
  tools === undefined ? [] : tools.tools.map((tool, index) => ({ tool, place: tools.placeOf(tool, index) }));

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
    const problem = checkStrict(tool.parameters ?? EMPTY);
    const param = place.parameters;
    if (problem !== undefined)
      throw invalidParameters(tool.name, { reason: problem.message, param, cause: problem });
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
  { refusal, tenant }: { readonly refusal: GrammarError; readonly tenant: string },
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
        if (isBusy(error)) throw error;
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
    const reason = await check(toolSource(tool));
    if (reason === undefined) continue;
    if (tool.type === "custom")
      throw invalidValue(`${place.format}: ${reason.message}`, place.format, reason);
    const param = place.parameters;
    if (tool.strict === true)
      throw invalidParameters(tool.name, { reason: reason.message, param, cause: reason });
    unenforced.push(tool.name);
  }
  if (unenforced.length > 0) return unenforced;
  const field = callable.length > 0 ? "tools" : (constraint?.field ?? "response_format");
  throw invalidValue(`${field}: ${refusal.message}`, field, refusal);
}

/** The grammar of a constraint by itself. */
export const constraintSource = (constraint: OutputConstraint | undefined): GrammarSource | undefined =>
  constraint?.grammar ?? formatSource(constraint?.responseFormat);

/** The grammar of what a tool takes, by itself. */
function toolSource(tool: Tool): GrammarSource | undefined {
  if (tool.type === "function") return tool.parameters && { type: "json_schema", schema: tool.parameters };
  if (tool.grammar === undefined) return undefined;
  const { syntax, definition } = tool.grammar;
  if (syntax === "regex") return { type: "regex", pattern: definition };
  return { type: "json_string", of: { type: "lark", text: definition } };
}
