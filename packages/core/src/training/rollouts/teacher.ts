// Answers that are graded by a teacher: an endpoint that says how likely it finds each of their tokens.
import { z } from "zod";
import { limitConcurrency, MosError } from "#common";
import { type EndpointOptions, endpointUrl, openEndpoint } from "#data";
import type { Tokenizer } from "#text";
import type { AnswerGrader, GraderPlan, Group } from "./grader.ts";

/** How a teacher is asked, besides its address. */
export type TeacherAccess = Pick<EndpointOptions, "key" | "onRetry">;

/** What of a tokenizer tells which texts its tokens are. */
export type TokenTexts = Pick<Tokenizer, "idToBytes">;

/** Requests at a time: most servers compute a few together. */
const CONCURRENCY = 8;

/** What of a completion is read: the tokens that were sent, and one that is new. */
const scoresSchema = z.object({
  choices: z
    .array(
      z.object({
        logprobs: z.object({
          tokens: z.array(z.string()),
          token_logprobs: z.array(z.number().nullable()),
        }),
      }),
    )
    .min(1),
});

interface TeacherOptions {
  readonly teacher: string | undefined;
  readonly teacherModel: string | undefined;
  /** The limit of an advantage, in nats. */
  readonly advantageLimit: number | undefined;
}

/** A grader by a teacher. Throws `bad_option` where it has no address or no name. */
export function planTeacher(
  { teacher: url, teacherModel: model, advantageLimit = Number.POSITIVE_INFINITY }: TeacherOptions,
  access: TeacherAccess = {},
): GraderPlan {
  if (url === undefined || model === undefined)
    throw new MosError(
      "bad_option",
      "answers are learnt by a teacher's log-probabilities; give teacher, the URL of an OpenAI-compatible API, and teacherModel, the model's name there",
    );
  endpointUrl(url, "completions");
  return {
    checkPrompt: () => undefined,
    open: ({ tokenizer, signal }) =>
      gradeByTeacher(openTeacher(model, { url, ...access }, tokenizer), { advantageLimit, signal }),
  };
}

/** Gives the log-probability of each token after the first by the teacher. */
type Score = (ids: readonly number[], signal: AbortSignal | undefined) => Promise<Float32Array>;

/** Throws `bad_option` for an answer about other tokens than those that were sent. */
function openTeacher(model: string, options: EndpointOptions, tokenizer: TokenTexts): Score {
  const ask = openEndpoint(
    { path: "completions", answer: scoresSchema, answerName: "log-probabilities of a prompt" },
    options,
  );
  const refuse = (problem: string): MosError =>
    new MosError("bad_option", `${new URL(options.url).origin}: the teacher ${problem}`);
  return async (ids, signal) => {
    // some servers make at least one token
    const fields = { model, prompt: ids, echo: true, logprobs: 1, max_tokens: 1, temperature: 0 };
    const { choices } = await ask(fields, signal);
    const { tokens = [], token_logprobs: logprobs = [] } = choices[0]?.logprobs ?? {};
    if (tokens.length < ids.length || logprobs.length !== tokens.length)
      throw refuse(
        `gave ${logprobs.length} log-probabilities for ${ids.length} tokens; use a server that takes token ids with echo and logprobs, such as mos serve or vLLM`,
      );
    const odd = ids.findIndex((id, i) => differ(tokenizer.idToBytes(id), tokens[i] as string));
    if (odd >= 0)
      throw refuse(
        `reads token ${ids[odd]} as ${JSON.stringify(tokens[odd])}, and the student as ${JSON.stringify(decode(tokenizer.idToBytes(ids[odd] as number)))}; both need the same tokenizer`,
      );
    return Float32Array.from(ids.slice(1), (id, i) => {
      const logprob = logprobs[i + 1];
      if (typeof logprob === "number") return logprob;
      throw refuse(`gave no log-probability of token ${id} at position ${i + 1}`);
    });
  };
}

const decode = (bytes: Uint8Array): string => new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);

/** Tests whether a token's text is another one. Servers may leave out blanks, special tokens and parts of a character. */
function differ(bytes: Uint8Array, text: string): boolean {
  const [own, other] = [decode(bytes), text].map((part) => part.replace(/^[ ▁Ġ]+/, ""));
  const isUnclear =
    other === "" || own?.includes("\uFFFD") === true || /\uFFFD|^bytes:|^token_id:/.test(text);
  return !isUnclear && own !== other;
}

/**
 * A grader by a teacher: a grade has the log-probability of each token by the teacher, and a token's advantage is by how much that
 * exceeds the student's.
 */
export function gradeByTeacher(
  score: Score,
  {
    advantageLimit: limit,
    signal,
  }: { readonly advantageLimit: number; readonly signal: AbortSignal | undefined },
): AnswerGrader<Float32Array> {
  const limited = limitConcurrency(CONCURRENCY);
  return {
    async grade({ ids: prompt }, { tokens }) {
      const logprobs = await limited(() => score([...prompt, ...tokens], signal), signal);
      return logprobs.subarray(prompt.length - 1);
    },
    advantages: (groups) =>
      groups.map(({ answers }) =>
        answers.map(({ grade, logprobs }) =>
          grade.map((x, i) => Math.max(-limit, Math.min(limit, x - (logprobs[i] as number)))),
        ),
      ),
    metrics: (groups) => ({ teacher_kl: divergence(groups) }),
    loss: divergence,
    explainSilence: (_, when) =>
      `teacher and student agree on every token ${when}, so there is nothing to learn; choose another teacher`,
    [Symbol.asyncDispose]: async () => undefined,
  };
}

/** The divergence of the student from the teacher, by the tokens that the student sampled, in nats a token. */
function divergence(groups: readonly Group<Float32Array>[]) {
  let [sum, count] = [0, 0];
  for (const { answers } of groups)
    for (const { grade, logprobs } of answers) {
      for (const [i, x] of grade.entries()) sum += (logprobs[i] as number) - x;
      count += grade.length;
    }
  return { sum, count };
}
