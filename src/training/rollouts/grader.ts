// Rewards of answers: by a grader that is given as data, or by a function.
import { MosError } from "#core";
import {
  askedModels,
  type Grade,
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
export function openGrading(
  grader: Grader | RewardFunction,
  { scoreModel, signal }: Pick<GradeTools, "scoreModel"> & { readonly signal?: AbortSignal | undefined },
): Grading {
  if (typeof grader === "function")
    return {
      async reward(item, text) {
        const reward = await grader(item, readSample(text));
        return { reward, scores: {}, problem: "the reward is NaN" };
      },
      [Symbol.asyncDispose]: async () => undefined,
    };
  const python = new PythonGraders();
  return {
    async reward(item, text) {
      const given = await grade(grader, { item, sample: readSample(text) }, { signal, python, scoreModel });
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
    [Symbol.asyncDispose]: () => python[Symbol.asyncDispose](),
  };
}
