// Answers that are graded by their rewards: by a grader that is given as data, or by a function.
import { MosError } from "#common";
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
} from "#graders";
import type { Metrics } from "../objectives/objective.ts";
import type { FinetuneSettings } from "../settings.ts";
import { advantages, deviation, mean, type RewardScale } from "./advantages.ts";
import type { AnswerGrader, GraderInputs, GraderPlan, Group, Prompt, RewardFunction } from "./grader.ts";

/** What grades, besides a grader that is data. */
export type GraderTools = Pick<GraderInputs, "scoreModel" | "pythonGraders">;

/** The reward of an answer. */
export interface RewardGrade {
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

/** Gives answers to prompts their rewards. Dispose it. */
export interface RewardGrader extends AsyncDisposable {
  grade(item: Prompt["item"], text: string): Promise<RewardGrade>;
}

/** A grader by rewards: of a grader that is data, or of a function. */
export const planRewards = (
  grader: Grader | RewardFunction,
  { scale = "group", ...tools }: GraderTools & { readonly scale?: RewardScale },
): GraderPlan => ({
  checkPrompt(prompt) {
    if (typeof grader !== "function") checkItem(grader, prompt.item, placeText(prompt));
  },
  open: ({ signal }) => gradeByRewards(openGrader(grader, { ...tools, signal }), scale),
});

/** The grader in a setting of a run. Throws `bad_option` for a wrong one, `unsupported` for one that cannot ask its model. */
export function readGrader(
  settings: FinetuneSettings,
  name: "grader" | "evaluateBy",
  { scoreModel }: Pick<GraderInputs, "scoreModel">,
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
export function chooseGrader(settings: FinetuneSettings, tools: GraderInputs): Grader | RewardFunction {
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

/** Opens a grader. Dispose it. */
export function openGrader(
  grader: Grader | RewardFunction,
  { scoreModel, pythonGraders, signal }: GraderTools & { readonly signal: AbortSignal | undefined },
): RewardGrader {
  if (typeof grader === "function")
    return {
      async grade(item, text) {
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
    async grade(item, text) {
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

type RewardedGroup = Group<RewardGrade>;

const gradesOf = (groups: readonly RewardedGroup[]): readonly RewardGrade[] =>
  groups.flatMap(({ answers }) => answers.map(({ grade }) => grade));

const rewardsOf = ({ answers }: RewardedGroup): readonly number[] => answers.map(({ grade }) => grade.reward);

/** A grader that compares the rewards of the answers to a prompt. It disposes of the other grader. */
export const gradeByRewards = (grader: RewardGrader, scale: RewardScale): AnswerGrader<RewardGrade> => ({
  grade: ({ item }, { text }) => grader.grade(item, text),
  advantages: (groups) => advantages(groups.map(rewardsOf), scale),
  metrics: rewardMetrics,
  findProblem: (groups) => gradesOf(groups).find(({ reward }) => Number.isNaN(reward))?.problem,
  explainSilence(groups, when) {
    const reward = mean(groups.flatMap(rewardsOf).filter((reward) => !Number.isNaN(reward)));
    const now = Number.isNaN(reward) ? "no answer could be graded" : `now ${Number(reward.toPrecision(3))}`;
    return (
      `all rewards of every group are equal ${when} (${now}), so there is nothing to learn; ` +
      "choose a grader that gives some answers of the untrained model more than others, or train on examples first"
    );
  },
  [Symbol.asyncDispose]: () => grader[Symbol.asyncDispose](),
});

/** The number, or 0 of nothing where it is not known. */
const averaged = (numbers: readonly number[]): Metrics[string] => {
  const known = numbers.filter((x) => !Number.isNaN(x));
  return { sum: known.reduce((a, b) => a + b, 0), count: known.length };
};

/** What TRL reports of rewards, under its names. */
function rewardMetrics(groups: readonly RewardedGroup[]): Metrics {
  const grades = gradesOf(groups);
  const names = [...new Set(grades.flatMap(({ scores }) => Object.keys(scores)))];
  return {
    reward: averaged(grades.map(({ reward }) => reward)),
    ...(grades.length > groups.length
      ? {
          reward_std: averaged(groups.map((group) => deviation(rewardsOf(group)))),
          frac_reward_zero_std: averaged(groups.map((group) => Number(deviation(rewardsOf(group)) === 0))),
        }
      : {}),
    ...Object.fromEntries(
      names.map((name) => [
        `rewards/${name}/mean`,
        averaged(grades.map(({ scores }) => scores[name] ?? Number.NaN)),
      ]),
    ),
    ...Object.fromEntries(
      [...new Set(grades.flatMap(({ errors = [] }) => errors))].map((error) => [
        `errors/${error}`,
        averaged(grades.map(({ errors = [] }) => Number(errors.includes(error)))),
      ]),
    ),
    frac_unreadable: averaged(grades.map(({ isUnreadable }) => Number(isUnreadable ?? Number.NaN))),
    frac_ungraded: averaged(grades.map(({ reward }) => Number(Number.isNaN(reward)))),
  };
}
