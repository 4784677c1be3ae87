// Grading one answer by one grader.
import { abortAfter, MosError, omitUndefined, parseJson } from "#common";
import type { ChatClient } from "#data";
import { findExcess, type Grader, graderName, readFormula } from "./grader.ts";
import type { PythonGraders } from "./python.ts";
import { scoreByModel, type TokenUsage } from "./score-model.ts";
import { MEASURES } from "./similarity/measures.ts";
import { fillIn, type GradeInput, MissingValue, parseTemplate } from "./template.ts";

const NO_ERRORS = {
  formula_parse_error: false,
  /** The answer lacks what a template names, such as a field of its JSON. */
  sample_parse_error: false,
  /** A text was too long: it was compared by its beginning, or there were too many characters to grade at all. */
  truncated_observation_error: false,
  /** The time for grading was over. */
  unresponsive_reward_error: false,
  /** The item lacks what a template names. */
  invalid_variable_error: false,
  other_error: false,
  python_grader_server_error: false,
  python_grader_server_error_type: null,
  python_grader_runtime_error: false,
  python_grader_runtime_error_details: null,
  model_grader_server_error: false,
  model_grader_server_error_details: null,
  model_grader_refusal_error: false,
  model_grader_parse_error: false,
};

/** What went wrong, under OpenAI's names. A grader that fails gives the reward 0. */
export type GradeErrors = {
  readonly [Name in keyof typeof NO_ERRORS]: (typeof NO_ERRORS)[Name] extends boolean
    ? boolean
    : string | null;
};

/** The reward of an answer, and how it came about. */
export interface Grade {
  readonly reward: number;
  readonly name: string;
  readonly type: Grader["type"];
  readonly errors: GradeErrors;
  readonly seconds: number;
  /** Rewards of a multi grader's parts, by their names; empty for others. */
  readonly scores: Readonly<Record<string, number>>;
  /** Tokens that models spent, by their names. */
  readonly usage: Readonly<Record<string, TokenUsage>>;
  readonly sampledModel?: string | undefined;
}

/** What grading stands on. */
export interface GradeOptions {
  readonly signal?: AbortSignal | undefined;
  /** Answers the requests of score_model. */
  readonly scoreModel?: ChatClient | undefined;
  /** Runs python. */
  readonly python?: Pick<PythonGraders, "run"> | undefined;
  /** Seconds that grading may take. */
  readonly seconds?: number | undefined;
}

type Outcome = Partial<Pick<Grade, "scores" | "usage" | "sampledModel">> & {
  readonly reward: number;
  readonly errors?: Partial<GradeErrors> | undefined;
};

/**
 * Grades one answer. What goes wrong in grading is noted in `errors`, and the reward is 0.
 *
 * @throws MosError `bad_option` where the grader needs what the options lack; `cancelled` by the signal
 */
export const grade = (grader: Grader, input: GradeInput, options: GradeOptions = {}): Promise<Grade> =>
  toGrade(grader, () => gradeWithinLimits(grader, input, options));

async function toGrade(grader: Grader, graded: () => Promise<Outcome>): Promise<Grade> {
  const start = performance.now();
  const { errors, scores = {}, usage = {}, ...outcome } = await graded();
  return {
    ...outcome,
    name: graderName(grader),
    type: grader.type,
    errors: { ...NO_ERRORS, ...errors },
    seconds: (performance.now() - start) / 1000,
    scores,
    usage,
  };
}

async function gradeWithinLimits(
  grader: Grader,
  input: GradeInput,
  { seconds, signal, ...options }: GradeOptions,
): Promise<Outcome> {
  if (findExcess(grader, input) !== undefined)
    return { reward: 0, errors: { truncated_observation_error: true } };
  if (seconds === undefined) return await runGrader(grader, input, { ...options, signal });
  using limit = abortAfter(seconds * 1000, signal);
  try {
    return await runGrader(grader, input, { ...options, signal: limit.signal });
  } catch (error) {
    if (!limit.isLate || signal?.aborted === true) throw error;
    return { reward: 0, errors: { unresponsive_reward_error: true } };
  }
}

async function runGrader(grader: Grader, input: GradeInput, options: GradeOptions): Promise<Outcome> {
  try {
    switch (grader.type) {
      case "string_check":
        return checkString(grader, input);
      case "text_similarity":
        return compareTexts(grader, input);
      case "python":
        return await runPython(grader, input, options);
      case "score_model":
        return await askModel(grader, input, options);
      case "multi":
        return await combine(grader, input, options);
    }
  } catch (error) {
    if (!(error instanceof MissingValue)) throw error;
    const flag = error.isSample ? "sample_parse_error" : "invalid_variable_error";
    return { reward: 0, errors: { [flag]: true } };
  }
}

type Of<Type extends Grader["type"]> = Extract<Grader, { type: Type }>;

const fillInBoth = (
  { input, reference }: { readonly input: string; readonly reference: string },
  known: GradeInput,
): { text: string; reference: string } => ({
  text: fillIn(parseTemplate(input, "input"), known),
  reference: fillIn(parseTemplate(reference, "reference"), known),
});

const COMPARISONS = {
  eq: (text, reference) => text === reference,
  ne: (text, reference) => text !== reference,
  neq: (text, reference) => text !== reference,
  like: (text, reference) => text.includes(reference),
  ilike: (text, reference) => text.toLowerCase().includes(reference.toLowerCase()),
} satisfies Record<Of<"string_check">["operation"], (text: string, reference: string) => boolean>;

function checkString(grader: Of<"string_check">, input: GradeInput): Outcome {
  const { text, reference } = fillInBoth(grader, input);
  return { reward: Number(COMPARISONS[grader.operation](text, reference)) };
}

/** Longer texts are compared by their beginnings: the time of some measures grows with the square of the length. */
const MAX_COMPARED = 32_768;

function compareTexts(grader: Of<"text_similarity">, input: GradeInput): Outcome {
  const { text, reference } = fillInBoth(grader, input);
  const [start, wanted] = [text.slice(0, MAX_COMPARED), reference.slice(0, MAX_COMPARED)];
  return {
    reward: MEASURES[grader.evaluation_metric](start, wanted),
    errors: { truncated_observation_error: start !== text || wanted !== reference },
  };
}

async function runPython(
  { source }: Of<"python">,
  input: GradeInput,
  { python, signal }: GradeOptions,
): Promise<Outcome> {
  if (python === undefined) throw new MosError("bad_option", "grader: python graders cannot run here");
  const result = await python.run(source, input, signal);
  if ("reward" in result) return result;
  const { fault, details } = result;
  return {
    reward: 0,
    errors:
      fault === "program"
        ? { python_grader_runtime_error: true, python_grader_runtime_error_details: details }
        : { python_grader_server_error: true, python_grader_server_error_type: details },
  };
}

async function askModel(
  grader: Of<"score_model">,
  input: GradeInput,
  { scoreModel: ask, signal }: GradeOptions,
): Promise<Outcome> {
  if (ask === undefined)
    throw new MosError("bad_option", "grader: score_model needs an endpoint that answers its requests");
  const score = await scoreByModel(grader, input, { ask, signal });
  const { reward, failure, details = "", model = grader.model, usage } = score;
  return {
    reward,
    errors: {
      ...(failure === undefined ? {} : { [`model_grader_${failure}_error`]: true }),
      ...(failure === "server" ? { model_grader_server_error_details: details } : {}),
    },
    sampledModel: score.model,
    usage: usage === undefined ? {} : { [model]: usage },
  };
}

/** A multi grader: all its parts, then the formula over their rewards. */
async function combine(grader: Of<"multi">, input: GradeInput, options: GradeOptions): Promise<Outcome> {
  const formula = readFormula(grader);
  const parts = await Promise.all(
    Object.entries(grader.graders).map(
      async ([name, part]) => [name, await toGrade(part, () => runGrader(part, input, options))] as const,
    ),
  );
  const scores = Object.fromEntries(parts.map(([name, { reward }]) => [name, reward]));
  const reward = formula(scores);
  const errors = parts.reduce((sum, [, part]) => mergeErrors(sum, part.errors), NO_ERRORS as GradeErrors);
  const usage = parts.reduce((sum, [, part]) => addUsage(sum, part.usage), {});
  // a division by zero, or a logarithm of nothing
  return Number.isFinite(reward)
    ? { reward, scores, errors, usage }
    : { reward: 0, scores, errors: { ...errors, other_error: true }, usage };
}

/** What went wrong in any of two. */
function mergeErrors(a: GradeErrors, b: GradeErrors): GradeErrors {
  const kept = Object.entries(b).filter(([, value]) => value !== false && value !== null);
  return { ...a, ...Object.fromEntries(kept) };
}

/** Tokens by model, added. */
export function addUsage(a: Grade["usage"], b: Grade["usage"]): Grade["usage"] {
  const sum = { ...a };
  for (const [model, usage] of Object.entries(b)) {
    const before = sum[model] ?? { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 };
    sum[model] = {
      prompt_tokens: before.prompt_tokens + usage.prompt_tokens,
      completion_tokens: before.completion_tokens + usage.completion_tokens,
      total_tokens: before.total_tokens + usage.total_tokens,
    };
  }
  return sum;
}

/** The answer as graders see it. Text that is JSON is given as a value as well. */
export function readSample(text: string, tools?: readonly unknown[]): GradeInput["sample"] {
  const message = { role: "assistant", content: text, ...omitUndefined({ tool_calls: tools }) };
  return {
    output_text: text,
    ...parsedJson(text),
    ...omitUndefined({ output_tools: tools }),
    choices: [{ index: 0, message, finish_reason: tools === undefined ? "stop" : "tool_calls" }],
  };
}

function parsedJson(text: string): { output_json?: unknown } {
  try {
    return { output_json: parseJson(text, { code: "bad_data", where: "the answer" }) };
  } catch {
    return {};
  }
}
