// A model as a grader: it is asked for a number and the steps that led there, by a chat request.
import { z } from "zod";
import { errorText, MosError, tryJson } from "#common";
import type { ChatClient, ChatCompletion, ChatCompletionRequest } from "#data";
import { type Grader, messageText } from "./grader.ts";
import { fillIn, type GradeInput, parseTemplate } from "./template.ts";

type ScoreModelGrader = Extract<Grader, { type: "score_model" }>;

/** Tokens that a model spent on grading. */
export interface TokenUsage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
}

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
function scoreRequest(
  { model, input, sampling_params }: ScoreModelGrader,
  known: GradeInput,
): ChatCompletionRequest {
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
  return z.object({ result: z.number() }).safeParse(tryJson(content)).data?.result;
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
  { ask, signal }: { readonly ask: ChatClient; readonly signal: AbortSignal | undefined },
): Promise<Score> {
  const request = scoreRequest(grader, known);
  try {
    return readScore(grader, await ask(request, signal));
  } catch (error) {
    if (signal?.aborted === true)
      throw new MosError("cancelled", "grading was interrupted", { cause: signal.reason });
    return { reward: 0, failure: "server", details: errorText(error) };
  }
}

function readScore(
  grader: ScoreModelGrader,
  { choices, usage, model = grader.model }: ChatCompletion,
): Score {
  const spent = { model, usage: toUsage(usage) };
  const message = choices[0]?.message;
  if (typeof message?.refusal === "string") return { reward: 0, failure: "refusal", ...spent };
  const result = readResult(message?.content ?? "");
  if (result === undefined) return { reward: 0, failure: "parse", ...spent };
  const [least, most] = grader.range ?? [0, 1];
  return { reward: Math.min(most, Math.max(least, result)), ...spent };
}

function toUsage(usage: ChatCompletion["usage"]): TokenUsage | undefined {
  if (!usage) return undefined;
  const { prompt_tokens, completion_tokens } = usage;
  return { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens };
}
