// Answers that are judged by their rewards: by a grader that is given as data, or by a function.
import { MosError } from "#core";
import { placeText } from "#data";
import {
  askedModels,
  checkItem,
  type Grade,
  type Grader,
  grade,
  graderName,
  PythonGraders,
  parseGrader,
  readSample,
  type ScoreModel,
} from "#graders";
import type { Metrics } from "../objectives/objective.ts";
import type { FinetuneSettings } from "../settings.ts";
import { advantages, deviation, mean, type RewardScale } from "./advantages.ts";
import type { Group, Judge, JudgePlan, Prompt } from "./judge.ts";

/** A grader of one's own: the reward of an answer to the prompt of a line. NaN leaves an answer out. */
export type RewardFunction = (
  item: Readonly<Record<string, unknown>>,
  sample: ReturnType<typeof readSample>,
) => number | Promise<number>;

/** What grades besides the settings. */
export interface GradeTools {
  /** Rewards of answers to prompts, in the place of the setting `grader`. */
  readonly reward?: RewardFunction | undefined;
  /** Answers the chat requests of graders of the type `score_model`, as OpenAI's API does. */
  readonly scoreModel?: ScoreModel | undefined;
  /** Runs graders of the type `python`, and stays open; without it, a run opens a sandbox of its own. */
  readonly pythonGraders?: Pick<PythonGraders, "run"> | undefined;
}

/** What a grader needs. */
type GraderTools = Pick<GradeTools, "scoreModel" | "pythonGraders">;

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

/** A judge by the rewards of a grader, or of a function. */
export const planRewards = (
  grader: Grader | RewardFunction,
  { scale = "group", ...tools }: GraderTools & { readonly scale?: RewardScale },
): JudgePlan => ({
  checkPrompt(prompt) {
    if (typeof grader !== "function") checkItem(grader, prompt.item, placeText(prompt));
  },
  open: ({ signal }) => judgeByRewards(openGrading(grader, { ...tools, signal }), scale),
});

/** The grader in a setting of a run. Throws `bad_option` for a wrong one, `unsupported` for one that cannot ask its model. */
export function readGrader(
  settings: FinetuneSettings,
  name: "grader" | "evaluateBy",
  { scoreModel }: Pick<GradeTools, "scoreModel">,
): Grader | undefined {
  if (settings[name] === undefined) return undefined;
  const grader = parseGrader(settings[name], name);
  const [model] = askedModels(grader);
  if (model === undefined || scoreModel !== undefined) return grader;
  throw new MosError(
    "unsupported",
    `${name}: this run cannot ask the model ${JSON.stringify(model)}; use graders without score_model, or a function of your own`,
  );
}

/** The grader of a run that learns from rewards. Throws as `readGrader`, and `bad_option` where there is none. */
export function chooseGrader(settings: FinetuneSettings, tools: GradeTools): Grader | RewardFunction {
  const found = readGrader(settings, "grader", tools) ?? tools.reward;
  if (found !== undefined) return found;
  throw new MosError("bad_option", "answers to prompts are learnt by their rewards; give a grader");
}

/** A failure of the machinery rather than of the answer, which has no reward then. */
function findFailure({
  python_grader_server_error: isPython,
  python_grader_server_error_type: details,
  model_grader_server_error: isModel,
  unresponsive_reward_error: isUnresponsive,
}: Grade["errors"]): string | undefined {
  if (isPython) return `python cannot run: ${details}`;
  return isModel || isUnresponsive ? "the grader gives no answer" : undefined;
}

interface Grading extends AsyncDisposable {
  readonly reward: Reward;
}

/** Opens what grades answers. Dispose it. */
function openGrading(
  grader: Grader | RewardFunction,
  { scoreModel, pythonGraders, signal }: GraderTools & { readonly signal: AbortSignal | undefined },
): Grading {
  if (typeof grader === "function")
    return {
      async reward(item, text) {
        const reward = await grader(item, readSample(text));
        return { reward, scores: {}, problem: "the reward is NaN" };
      },
      [Symbol.asyncDispose]: async () => undefined,
    };
  const own = pythonGraders === undefined ? new PythonGraders() : undefined;
  const closing = new AbortController();
  const options = {
    signal: AbortSignal.any([closing.signal, ...(signal === undefined ? [] : [signal])]),
    python: pythonGraders ?? own,
    scoreModel,
  };
  return {
    async reward(item, text) {
      const given = await grade(grader, { item, sample: readSample(text) }, options);
      const problem = findFailure(given.errors);
      const reward = problem === undefined ? given.reward : Number.NaN;
      return {
        reward,
        problem,
        scores: { [graderName(grader)]: reward, ...given.scores },
        isUnreadable: given.errors.sample_parse_error,
        errors: Object.entries(given.errors).flatMap(([name, flag]) => (flag === true ? [name] : [])),
      };
    },
    [Symbol.asyncDispose]: async () => {
      closing.abort();
      await own?.[Symbol.asyncDispose]();
    },
  };
}

type RatedGroup = Group<Graded>;

const verdictsOf = (groups: readonly RatedGroup[]): readonly Graded[] =>
  groups.flatMap(({ answers }) => answers.map(({ verdict }) => verdict));

const rewardsOf = ({ answers }: RatedGroup): readonly number[] =>
  answers.map(({ verdict }) => verdict.reward);

/** A judge that compares the rewards of the answers to a prompt. It disposes the grading. */
export const judgeByRewards = (grading: Grading, scale: RewardScale): Judge<Graded> => ({
  judge: ({ item }, { text }) => grading.reward(item, text),
  advantages: (groups) => advantages(groups.map(rewardsOf), scale),
  metrics: rewardMetrics,
  findProblem: (groups) => verdictsOf(groups).find(({ reward }) => Number.isNaN(reward))?.problem,
  explainSilence(groups, when) {
    const reward = mean(groups.flatMap(rewardsOf).filter((reward) => !Number.isNaN(reward)));
    const now = Number.isNaN(reward) ? "no answer could be graded" : `now ${Number(reward.toPrecision(3))}`;
    return (
      `all rewards of every group are equal ${when} (${now}), so there is nothing to learn; ` +
      "choose a grader that gives some answers of the untrained model more than others, or train on examples first"
    );
  },
  [Symbol.asyncDispose]: () => grading[Symbol.asyncDispose](),
});

/** The number, or 0 of nothing where it is not known. */
const averaged = (numbers: readonly number[]): Metrics[string] => {
  const known = numbers.filter((x) => !Number.isNaN(x));
  return { sum: known.reduce((a, b) => a + b, 0), count: known.length };
};

/** What TRL reports of rewards, under its names. */
function rewardMetrics(groups: readonly RatedGroup[]): Metrics {
  const verdicts = verdictsOf(groups);
  const names = [...new Set(verdicts.flatMap(({ scores }) => Object.keys(scores)))];
  return {
    reward: averaged(verdicts.map(({ reward }) => reward)),
    ...(verdicts.length > groups.length
      ? {
          reward_std: averaged(groups.map((group) => deviation(rewardsOf(group)))),
          frac_reward_zero_std: averaged(groups.map((group) => Number(deviation(rewardsOf(group)) === 0))),
        }
      : {}),
    ...Object.fromEntries(
      names.map((name) => [
        `rewards/${name}/mean`,
        averaged(verdicts.map(({ scores }) => scores[name] ?? Number.NaN)),
      ]),
    ),
    ...Object.fromEntries(
      [...new Set(verdicts.flatMap(({ errors = [] }) => errors))].map((error) => [
        `errors/${error}`,
        averaged(verdicts.map(({ errors = [] }) => Number(errors.includes(error)))),
      ]),
    ),
    frac_unreadable: averaged(verdicts.map(({ isUnreadable }) => Number(isUnreadable ?? Number.NaN))),
    frac_ungraded: averaged(verdicts.map(({ reward }) => Number(Number.isNaN(reward)))),
  };
}
