// From a benchmark's rows to questions that a model can be asked. All of them are drafted cheaply; only those that are
// asked get a prompt and tokens.
import { setImmediate } from "node:timers/promises";
import { type ChatMessage, encodePrompt, type LoadedText, MosError } from "mixture-of-shards";
import { omitUndefined, randomStream } from "mixture-of-shards-core/common";
import type { OutputSpec, PromptSettings, Question, QuestionOptions, QuestionSet } from "./benchmark.ts";
import { type BenchmarkData, describeCounts } from "./data.ts";

/** Tools as chat templates take them. */
export type RenderTools = NonNullable<NonNullable<Parameters<LoadedText["template"]["render"]>[1]>["tools"]>;

/** Prompt of a question, before the model's chat format is known. */
export interface ChatPrompt {
  readonly messages: readonly ChatMessage[];
  /** The beginning of the prediction, written for the model. */
  readonly leadIn: string;
  /** The whole prompt for a model that is not a chat model. */
  readonly plain: string;
  /** Tools that the model's own template shows. */
  readonly tools?: RenderTools;
}

/** A question whose prompt is not made yet. */
export interface Draft {
  readonly id: string;
  readonly group: string;
  readonly references: readonly string[];
  readonly prompt: () => ChatPrompt;
  /** The kind of answer to this question, whose prompt is made. Default: that of the benchmark. */
  readonly output?: (prompt: string) => OutputSpec;
}

/** Options of rendering a prompt. */
type RenderPromptOptions = Pick<PromptSettings, "format" | "chatTemplateKwargs"> & {
  readonly text: Pick<LoadedText, "template">;
};

/** The text that the model sees. */
export function renderPrompt(
  { messages, leadIn, plain, tools }: ChatPrompt,
  { format, text, chatTemplateKwargs: variables = {} }: RenderPromptOptions,
): string {
  switch (format) {
    case "none":
      return plain;
    case "tulu":
      return withLeadIn(tulu(messages), leadIn);
    case "model":
      return withLeadIn(
        text.template.render(messages, { addGenerationPrompt: true, variables, tools }),
        leadIn,
      );
  }
}

/** Role tags are plain text and contents stay as they are: only training strips them. */
const tulu = (messages: readonly ChatMessage[]): string =>
  `${messages.map(({ role, content }) => `<|${role}|>\n${content}\n`).join("")}<|assistant|>\n`;

function withLeadIn(prompt: string, leadIn: string): string {
  if (leadIn === "") return prompt;
  return /[\n ]$/.test(prompt) ? prompt + leadIn : `${prompt} ${leadIn}`;
}

/**
 * The number of examples in a prompt: the rules' own, or another of a range, which has its reason.
 *
 * @throws MosError `bad_option` for a number that the benchmark does not have.
 */
export function chooseShots(
  { shots }: Pick<QuestionOptions, "shots">,
  range: Readonly<Record<"benchmark" | "reason", string> & Record<"default" | "min" | "max", number>>,
): number {
  const { benchmark, default: own, min, max, reason } = range;
  if (shots === undefined) return own;
  if (Number.isSafeInteger(shots) && shots >= min && shots <= max) return shots;
  const usable = min === max ? `omit the option, or use ${own}` : `use ${min} to ${max}`;
  throw new MosError("bad_option", `${benchmark}: cannot show ${shots} shots, since ${reason}; ${usable}`);
}

/** A benchmark's questions. */
export interface DraftedQuestions {
  readonly benchmark: string;
  readonly data: BenchmarkData;
  readonly drafts: readonly Draft[];
  /** The kind of answer to every question; MMLU's depends on how the prompts end. */
  readonly output: OutputSpec | ((first: Draft | undefined) => OutputSpec);
  readonly shots: number;
  readonly direct?: boolean;
  readonly notes?: readonly string[];
}

/** Chooses the questions that are asked, and makes their prompts. Throws `bad_option`, `cancelled`. */
export async function finishQuestions(
  { benchmark, data, drafts, output, shots, direct, notes = [] }: DraftedQuestions,
  options: QuestionOptions,
): Promise<QuestionSet> {
  const chosen = chooseDrafts(drafts, options, benchmark);
  return {
    questions: await renderDrafts(chosen, options, typeof output === "function" ? output(chosen[0]) : output),
    shots,
    ...omitUndefined({ direct }),
    dataDigest: data.digest,
    notes: [...describeCounts(data.counts), ...notes],
  };
}

/** Those of the drafts that are asked, in the order of the data. */
function chooseDrafts(
  drafts: readonly Draft[],
  { limit, seed }: QuestionOptions,
  benchmark: string,
): readonly Draft[] {
  if (limit === undefined || limit >= drafts.length) return drafts;
  if (!Number.isSafeInteger(limit) || limit < 1)
    throw new MosError("bad_option", `limit ${limit} is invalid; give the number of questions per task`);
  const order = randomStream(seed, `questions of ${benchmark}`).permutation(drafts.length);
  const chosen = new Set(order.subarray(0, limit));
  return drafts.filter((_, index) => chosen.has(index));
}

async function renderDrafts(
  drafts: readonly Draft[],
  { format, text, chatTemplateKwargs, signal }: QuestionOptions,
  output: OutputSpec,
): Promise<readonly Question[]> {
  const questions: Question[] = [];
  for (const { id, group, references, prompt: make, output: ownOutput } of drafts) {
    const prompt = renderPrompt(make(), { format, text, chatTemplateKwargs });
    const tokens = encodePrompt(prompt, text.tokenizer);
    questions.push({ id, group, prompt, tokens, output: ownOutput?.(prompt) ?? output, references });
    // thousands of long prompts take half a minute, in which a signal has to be heard
    if (questions.length % 64 === 0) await setImmediate();
    if (signal?.aborted === true) throw new MosError("cancelled", "the evaluation was interrupted");
  }
  return questions;
}
