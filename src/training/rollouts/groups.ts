// Answers to prompts by the adapter that is trained, their rewards, and the examples that they become.
import { randomStream } from "#core";
import { type EncodedExample, IGNORED, type Place } from "#data";
import type { LiveEngine, Sample } from "#inference";
import type { Metrics } from "../objectives/objective.ts";
import { advantages, deviation, mean, type RewardScale } from "./advantages.ts";

/** A prompt whose answers are graded. */
export interface Prompt extends Place {
  /** Token ids up to where the answer begins. */
  readonly ids: ArrayLike<number> & Iterable<number>;
  /** What its grader knows besides the answer. */
  readonly item: Readonly<Record<string, unknown>>;
}

/** The reward of an answer. */
export interface Graded {
  /** NaN where the answer could not be graded; it then counts for nothing. */
  readonly reward: number;
  /** Its parts by name. */
  readonly scores: Readonly<Record<string, number>>;
  /** True where the answer lacks what the grader reads of it, such as a field of its JSON; undefined where that is not known. */
  readonly isUnreadable?: boolean;
  /** Names of what went wrong in grading it. */
  readonly errors?: readonly string[];
  /** Why it could not be graded, where that is known. */
  readonly problem?: string | undefined;
}

/** Grades the answer to a prompt. */
export type Reward = (item: Prompt["item"], text: string) => Promise<Graded>;

/** An answer with its reward. */
export interface Answer extends Sample, Graded {}

/** The answers to one prompt. */
export interface Group {
  readonly prompt: Prompt;
  readonly answers: readonly Answer[];
}

/** How answers are sampled and graded. */
export interface GroupOptions {
  readonly engine: Pick<LiveEngine, "sample">;
  readonly reward: Reward;
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
 * @throws MosError `cancelled` by the signal, and what the engine and graders throw.
 */
export async function sampleGroups(
  prompts: readonly Prompt[],
  { engine, reward, groupSize, temperature, seed, label, signal, ...most }: GroupOptions,
): Promise<readonly Group[]> {
  const { maxCompletionLength, longest = Number.POSITIVE_INFINITY } = most;
  const requests = prompts.flatMap(({ ids }, p) =>
    Array.from({ length: groupSize }, (_, k) => ({
      prompt: [...ids],
      maxTokens: Math.min(maxCompletionLength, longest - ids.length),
      sampling: { temperature },
      seed: randomStream(seed, `${label} ${p}.${k}`).uint32(),
    })),
  );
  const grading: Promise<Answer>[] = [];
  for await (const [i, sample] of engine.sample(requests, signal)) {
    const { item } = prompts[Math.floor(i / groupSize)] as Prompt;
    const answer = reward(item, sample.text).then((graded) => ({ ...sample, ...graded }));
    // it is awaited below, perhaps after another has failed
    answer.catch(() => undefined);
    grading[i] = answer;
  }
  const answers = await Promise.all(grading);
  return prompts.map((prompt, p) => ({
    prompt,
    answers: answers.slice(p * groupSize, (p + 1) * groupSize),
  }));
}

const rewardsOf = ({ answers }: Group): readonly number[] => answers.map(({ reward }) => reward);

/** True where all answers have the same reward, so that nothing can be learnt from them. */
export const isUniform = (group: Group): boolean => deviation(rewardsOf(group)) === 0;

/** The answers of each group as examples: what is learnt are their tokens. */
export function toExamples(
  groups: readonly Group[],
  scale: RewardScale,
): readonly (readonly EncodedExample[])[] {
  const all = advantages(groups.map(rewardsOf), scale);
  return groups.map(({ prompt, answers }, g) =>
    answers.map((answer, k) => toExample(prompt, answer, all[g]?.[k] ?? 0)),
  );
}

function toExample(
  { ids, line, source }: Prompt,
  { tokens, logprobs }: Answer,
  advantage: number,
): EncodedExample {
  const none = new Int32Array(ids.length).fill(IGNORED);
  return {
    line,
    ...(source === undefined ? {} : { source }),
    ids: Int32Array.from([...ids, ...tokens]),
    labels: Int32Array.from([...none, ...tokens]),
    targetTokens: tokens.length,
    truncated: false,
    truncatedTargets: 0,
    columns: { advantage: new Float32Array(tokens.length).fill(advantage), old: logprobs },
  };
}

/** The number, or 0 of nothing where it is not known. */
const averaged = (numbers: readonly number[]): Metrics[string] => {
  const known = numbers.filter((x) => !Number.isNaN(x));
  return { sum: known.reduce((a, b) => a + b, 0), count: known.length };
};

/** What TRL reports of sampled answers, under its names. */
export function groupMetrics(groups: readonly Group[]): Metrics {
  const answers = groups.flatMap((group) => group.answers);
  const names = [...new Set(answers.flatMap(({ scores }) => Object.keys(scores)))];
  const hasSeveral = answers.length > groups.length;
  return {
    reward: averaged(answers.map(({ reward }) => reward)),
    ...(hasSeveral
      ? {
          reward_std: averaged(groups.map((group) => deviation(rewardsOf(group)))),
          frac_reward_zero_std: averaged(groups.map((group) => Number(isUniform(group)))),
        }
      : {}),
    ...Object.fromEntries(
      names.map((name) => [
        `rewards/${name}/mean`,
        averaged(answers.map(({ scores }) => scores[name] ?? Number.NaN)),
      ]),
    ),
    ...Object.fromEntries(
      [...new Set(answers.flatMap(({ errors = [] }) => errors))].map((error) => [
        `errors/${error}`,
        averaged(answers.map(({ errors = [] }) => Number(errors.includes(error)))),
      ]),
    ),
    frac_unreadable: averaged(answers.map(({ isUnreadable }) => Number(isUnreadable ?? Number.NaN))),
    frac_ungraded: averaged(answers.map(({ reward }) => Number(Number.isNaN(reward)))),
    "completions/mean_length": averaged(answers.map(({ tokens }) => tokens.length)),
    "completions/clipped_ratio": averaged(answers.map(({ hasEnded }) => Number(!hasEnded))),
  };
}

/** The mean reward of answers. */
export const meanReward = (groups: readonly Group[]): number =>
  mean(groups.flatMap(rewardsOf).filter((reward) => !Number.isNaN(reward)));
