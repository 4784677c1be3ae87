// Answers to prompts by the adapter that is trained, graded, and the examples that they become.
import { omitUndefined, randomStream } from "#common";
import { type EncodedExample, IGNORED } from "#data";
import type { LiveEngine, Sample } from "#inference";
import type { Metrics } from "../objectives/objective.ts";
import type { Answer, AnswerGrader, Group, Prompt } from "./grader.ts";

/** How answers are sampled and graded. */
export interface GroupOptions {
  readonly engine: Pick<LiveEngine, "sample">;
  readonly grader: AnswerGrader;
  readonly groupSize: number;
  readonly maxCompletionLength: number;
  /** Tokens of a prompt with its answer at most; any number. */
  readonly longest?: number | undefined;
  readonly temperature: number;
  /** Answers with the same label and seed are the same, whatever else is sampled. */
  readonly seed: number;
  readonly label: string;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Samples a group of answers to each prompt. Each is graded when it ends, while others are written.
 *
 * @throws MosError `cancelled` by the signal, and what the engine and the grader throw.
 */
export async function sampleGroups(
  prompts: readonly Prompt[],
  { engine, grader, groupSize, temperature, seed, label, signal, ...most }: GroupOptions,
): Promise<readonly Group<unknown>[]> {
  const { maxCompletionLength, longest = Number.POSITIVE_INFINITY } = most;
  const requests = prompts.flatMap(({ ids }, p) =>
    Array.from({ length: groupSize }, (_, k) => ({
      prompt: [...ids],
      maxTokens: Math.min(maxCompletionLength, longest - ids.length),
      sampling: { temperature },
      seed: randomStream(seed, `${label} ${p}.${k}`).uint32(),
    })),
  );
  const judging: Promise<Answer<unknown>>[] = [];
  for await (const [i, sample] of engine.sample(requests, signal)) {
    const prompt = prompts[Math.floor(i / groupSize)] as Prompt;
    const answer = grader.grade(prompt, sample).then((grade) => ({ ...sample, grade }));
    // it is awaited below, perhaps after another has failed
    answer.catch(() => undefined);
    judging[i] = answer;
  }
  const answers = await Promise.all(judging);
  return prompts.map((prompt, p) => ({
    prompt,
    answers: answers.slice(p * groupSize, (p + 1) * groupSize),
  }));
}

/** An answer as an example: what is learnt are its tokens, each by its advantage. */
export function toExample(
  { ids, line, source }: Prompt,
  { tokens, logprobs }: Sample,
  advantage: Float32Array,
): EncodedExample {
  const none = new Int32Array(ids.length).fill(IGNORED);
  return {
    line,
    ...omitUndefined({ source }),
    ids: Int32Array.from([...ids, ...tokens]),
    labels: Int32Array.from([...none, ...tokens]),
    targetTokens: tokens.length,
    truncated: false,
    truncatedTargets: 0,
    columns: { advantage, old: logprobs },
  };
}

/** What is reported of sampled answers: by their grader, and of their lengths under TRL's names. */
export function groupMetrics(groups: readonly Group<unknown>[], grader: AnswerGrader): Metrics {
  const answers = groups.flatMap((group) => group.answers);
  const mean = (of: (answer: Sample) => number): Metrics[string] => ({
    sum: answers.reduce((sum, answer) => sum + of(answer), 0),
    count: answers.length,
  });
  return {
    ...grader.metrics(groups),
    "completions/mean_length": mean(({ tokens }) => tokens.length),
    "completions/clipped_ratio": mean(({ hasEnded }) => Number(!hasEnded)),
  };
}
