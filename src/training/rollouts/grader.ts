// Rewards of answers: by a grader that is given as data, or by a function.
import { MosError } from "#core";
import {
  askedModels,
  type Grader,
  grade,
  graderName,
  PythonGraders,
  parseGrader,
  readSample,
  type ScoreModel,
} from "#graders";
import type { FinetuneSettings } from "../settings.ts";
import type { Reward } from "./groups.ts";

/** A grader of one's own: the reward of an answer to the prompt of a line. NaN leaves an answer out. */
export type RewardFunction = (
  item: Readonly<Record<string, unknown>>,
  sample: ReturnType<typeof readSample>,
) => number | Promise<number>;

/** What grades besides the settings. */
export interface GradeTools {
  /** In the place of a grader. */
  readonly reward?: RewardFunction | undefined;
  /** Answers the requests of graders by a model. */
  readonly scoreModel?: ScoreModel | undefined;
}

/** The grader of a run that learns from rewards. Throws `bad_option` where there is none, or it cannot be used. */
export function chooseGrader(
  { grader }: Pick<FinetuneSettings, "grader">,
  { reward, scoreModel }: GradeTools,
): Grader | RewardFunction {
  if (grader !== undefined) {
    const parsed = parseGrader(grader);
    const [model] = askedModels(parsed);
    if (model === undefined || scoreModel !== undefined) return parsed;
    throw new MosError(
      "unsupported",
      `grader: this run cannot ask the model ${JSON.stringify(model)}; use graders without score_model, or a function of your own`,
    );
  }
  if (reward !== undefined) return reward;
  throw new MosError("bad_option", "answers to prompts are learnt by their rewards; give a grader");
}

/** Failures of the machinery rather than of the answer: it has no reward then. */
const hasNoGrade = (errors: Awaited<ReturnType<typeof grade>>["errors"]): boolean =>
  errors.python_grader_server_error || errors.model_grader_server_error || errors.unresponsive_reward_error;

interface Grading extends AsyncDisposable {
  readonly reward: Reward;
}

/** Opens what grades answers. Dispose it. */
export function openGrading(
  grader: Grader | RewardFunction,
  { scoreModel, signal }: Pick<GradeTools, "scoreModel"> & { readonly signal?: AbortSignal | undefined },
): Grading {
  if (typeof grader === "function")
    return {
      async reward(item, text) {
        const reward = await grader(item, readSample(text));
        return { reward, scores: {} };
      },
      [Symbol.asyncDispose]: async () => undefined,
    };
  const python = new PythonGraders();
  return {
    async reward(item, text) {
      const given = await grade(grader, { item, sample: readSample(text) }, { signal, python, scoreModel });
      const reward = hasNoGrade(given.errors) ? Number.NaN : given.reward;
      return {
        reward,
        scores: { [graderName(grader)]: reward, ...given.scores },
        isUnreadable: given.errors.sample_parse_error,
        errors: Object.entries(given.errors).flatMap(([name, flag]) => (flag === true ? [name] : [])),
      };
    },
    [Symbol.asyncDispose]: () => python[Symbol.asyncDispose](),
  };
}
