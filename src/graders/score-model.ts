// A model as a grader: it is asked for a number and the steps that led there, by a chat request.
import { z } from "zod";
import { errorText, MosError, omitUndefined } from "#core";
import { type Grader, messageText } from "./grader.ts";
import { fillIn, type GradeInput, parseTemplate } from "./template.ts";

type ScoreModelGrader = Extract<Grader, { type: "score_model" }>;

/** A request of OpenAI's chat completions API, as a grader makes it. */
export interface ScoreRequest {
  readonly model: string;
  readonly messages: readonly { readonly role: string; readonly content: string }[];
  readonly response_format: unknown;
  readonly temperature?: number;
  readonly top_p?: number;
  readonly seed?: number;
  readonly max_completion_tokens?: number;
  readonly reasoning_effort?: string;
}

/** What of the answer a grader reads. */
const replySchema = z.object({
  model: z.string().optional(),
  choices: z
    .array(z.object({ message: z.object({ content: z.string().nullish(), refusal: z.string().nullish() }) }))
    .min(1),
  usage: z.object({ prompt_tokens: z.int(), completion_tokens: z.int(), total_tokens: z.int() }).nullish(),
});

export type ScoreReply = z.output<typeof replySchema>;
/** Answers chat requests of graders: an endpoint, or an engine at hand. */
export type ScoreModel = (request: ScoreRequest, signal: AbortSignal | undefined) => Promise<unknown>;

/** Tokens that a model spent on grading. */
export type TokenUsage = NonNullable<ScoreReply["usage"]>;

const STEP = {
  type: "object",
  properties: { description: { type: "string" }, conclusion: { type: "string" } },
  required: ["description", "conclusion"],
  additionalProperties: false,
};
const RESPONSE_FORMAT = {
  type: "json_schema",
  json_schema: {
    name: "score",
    strict: true,
    schema: {
      type: "object",
      properties: { result: { type: "number" }, steps: { type: "array", items: STEP } },
      required: ["result", "steps"],
      additionalProperties: false,
    },
  },
};

/** The grader's request for one answer. */
function scoreRequest({ model, input, sampling_params }: ScoreModelGrader, known: GradeInput): ScoreRequest {
  const { max_completions_tokens, ...sampling } = sampling_params ?? {};
  const set = Object.entries({ ...sampling, max_completion_tokens: max_completions_tokens });
  return {
    model,
    messages: input.map(({ role, content }) => ({
      role,
      content: fillIn(parseTemplate(messageText(content), "input"), known),
    })),
    response_format: RESPONSE_FORMAT,
    ...Object.fromEntries(set.filter(([, value]) => value !== null && value !== undefined)),
  };
}

/** The number in a reply; undefined where there is none. */
function readResult(content: string): number | undefined {
  try {
    const { result } = z.object({ result: z.number() }).parse(JSON.parse(content));
    return result;
  } catch {
    return undefined;
  }
}

/** What came of asking a model. */
export interface Score {
  readonly reward: number;
  readonly failure?: "parse" | "refusal" | "server" | undefined;
  readonly details?: string | undefined;
  readonly model?: string | undefined;
  readonly usage?: TokenUsage | undefined;
}

/** Asks the model. Throws MissingValue, and `cancelled` by the signal; all else that goes wrong is a failure with reward 0. */
export async function scoreByModel(
  grader: ScoreModelGrader,
  known: GradeInput,
  { ask, signal }: { readonly ask: ScoreModel; readonly signal: AbortSignal | undefined },
): Promise<Score> {
  const request = scoreRequest(grader, known);
  let reply: ScoreReply;
  try {
    reply = replySchema.parse(await ask(request, signal));
  } catch (error) {
    if (signal?.aborted === true)
      throw new MosError("cancelled", "grading was interrupted", { cause: signal.reason });
    return { reward: 0, failure: "server", details: errorText(error) };
  }
  const spent = omitUndefined({ model: reply.model ?? grader.model, usage: reply.usage ?? undefined });
  const message = reply.choices[0]?.message;
  if (typeof message?.refusal === "string") return { reward: 0, failure: "refusal", ...spent };
  const result = readResult(message?.content ?? "");
  if (result === undefined) return { reward: 0, failure: "parse", ...spent };
  const [least, most] = grader.range ?? [0, 1];
  return { reward: Math.min(most, Math.max(least, result)), ...spent };
}
