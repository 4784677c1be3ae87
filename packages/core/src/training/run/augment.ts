// What a run learns besides its examples, so that it is understood when asked otherwise and forgets nothing: other wordings of
// its questions, and the base's own answers to general prompts.
import type { EncodedDataset, EncodeOptions, EncodingReport, Example } from "#data";
import { parameterCount } from "#models";
import { GENERAL_PROMPTS } from "../augment/general-prompts.ts";
import { answerPrompts, type Replayed, replayExample } from "../augment/replay.ts";
import { otherWordings } from "../augment/wordings.ts";
import { chooseEpochs } from "../resolve-settings.ts";
import type { RunRecord } from "../run-record.ts";
import type { RunOptions } from "./options.ts";
import type { RunPlan } from "./plan.ts";

/** Answers of the base that are made before a run, of all that it needs. */
export interface ReplayEvent {
  readonly type: "replay";
  readonly done: number;
  readonly total: number;
}

/** How much is learnt besides the examples. */
export interface AugmentedCounts {
  /** Examples whose questions have other wordings, and how many each. */
  readonly reworded: number;
  readonly wordings: number;
  /** Answers of the base in all passes. */
  readonly replayed: number;
}

/** Examples of all passes, and what is replayed in them. */
export interface Augmented {
  readonly train: readonly Example[];
  /** Answers that are replayed, which are repeated where `counts` has more. */
  readonly answers: readonly Replayed[];
  /** Passes over the data that they are. */
  readonly copies: number;
  /** Of one pass over the data as they are. */
  readonly report: EncodingReport;
  readonly counts: AugmentedCounts;
}

/** Copies of the data at most: later passes repeat them. */
const MAX_COPIES = 30;
/** One copy of three has the questions as they stand. */
const AS_WRITTEN = 3;
/** Words of a question at most: the parts of a longer text may all matter. */
const MAX_WORDS = 32;
/** Examples whose questions are reworded without being asked for: more have wordings of their own. */
const FEW = 500;
/** Parameters of a base that has something to keep. */
const LEAST_PARAMETERS = 50_000_000;
/** Answers that are replayed for each example that a run sees, where a run has several passes. */
const KEEP = 0.2;

/** What a run is given besides its examples; undefined where its objective or its model has no use for it. */
export function planAugmentation({ settings, base, data, text, train }: RunPlan) {
  const isChat = settings.promptFormat === "template" && text.template.source !== "fallback";
  if (settings.objective !== "sft" || !isChat || !data.train.some(isQuestion)) return undefined;
  // by the data alone: a run of more passes has the same examples
  const copies = Math.min(MAX_COPIES, chooseEpochs(data.train.length, train.report.tokens));
  const isRepeated = settings.epochs > 1 && parameterCount(base.config) >= LEAST_PARAMETERS;
  const { keep = isRepeated ? KEEP : 0, reword = isRepeated && data.train.length <= FEW ? 20 : 0 } = settings;
  if (keep === 0 && reword === 0) return undefined;
  const wordings = copies > 1 ? reword : 0;
  const chosen =
    wordings === 0 ? [] : data.train.filter((one) => isQuestion(one) && isShort(questionOf(one)));
  const replayed = Math.round(keep * data.train.length * copies);
  const counts: AugmentedCounts = { reworded: chosen.length, wordings, replayed };
  return { copies, chosen, counts };
}

/** A question, perhaps with a system message, and its answer. */
const isQuestion = (example: Example): boolean => {
  if (example.kind !== "chat" || example.tools !== undefined) return false;
  const turns = example.turns.filter(({ role }) => role !== "system");
  return turns.length === 2 && turns[0]?.role === "user" && turns[1]?.isTarget === true;
};

/** What the run of a plan learns in all its passes; undefined where that is its examples alone. */
export async function* augment(
  plan: RunPlan,
  options: AskOptions,
): AsyncGenerator<ReplayEvent, Augmented | undefined> {
  // a resumed run goes on as it began
  const isPlain = options.recorded !== undefined && options.recorded.replay === undefined;
  const planned = isPlain ? undefined : planAugmentation(plan);
  if (planned === undefined) return undefined;
  const { copies, counts } = planned;
  const answers = options.recorded?.replay ?? (yield* answerAll(plan, counts.replayed, options));
  return { train: rewordQuestions(plan, planned), answers, copies, counts, report: plan.train.report };
}

type AskOptions = Pick<RunOptions, "signal" | "adapter" | "session"> & {
  /** A resumed run has the answers that it began with. */
  readonly recorded: RunRecord | undefined;
};

/** The base's answers to as many general prompts; where an adapter is trained further, that adapter's. */
async function* answerAll(
  { model, settings: { system, chatTemplateKwargs } }: RunPlan,
  count: number,
  { signal, adapter, session }: AskOptions,
): AsyncGenerator<ReplayEvent, readonly Replayed[]> {
  const prompts = GENERAL_PROMPTS.slice(0, count);
  const mergedAdapter = adapter !== undefined && "from" in adapter ? adapter.from : undefined;
  const asked = { model, mergedAdapter, system, chatTemplateKwargs, device: session?.device, signal };
  const answers: Replayed[] = [];
  for await (const [i, one] of answerPrompts(prompts, asked)) {
    answers[i] = one;
    yield { type: "replay", done: Object.keys(answers).length, total: prompts.length };
  }
  return answers;
}

/** The examples of all passes with what is replayed in them; what is reported of them is of the data alone. */
export function withReplay(
  { encoded }: EncodedDataset,
  { answers, counts: { replayed }, report }: Augmented,
  encoding: EncodeOptions,
): EncodedDataset {
  const examples = answers.map((one, i) => replayExample(one, i + 1, encoding));
  const learnt = examples.filter(({ targetTokens }) => targetTokens > 0);
  const replay = Array.from({ length: replayed }, (_, i) => learnt[i % learnt.length]);
  const all = [...encoded, ...replay.filter((one) => one !== undefined)];
  const longest = all.reduce((most, { ids }) => Math.max(most, ids.length), 0);
  return { encoded: all, report: { ...report, longest } };
}

/** The data so many times: in each copy but every third one, questions have other wordings. */
function rewordQuestions(
  { data, settings: { seed } }: RunPlan,
  { copies, chosen, counts }: NonNullable<ReturnType<typeof planAugmentation>>,
): readonly Example[] {
  const lessons = chosen.map((one) => ({ question: questionOf(one), answer: answerOf(one) }));
  const made = otherWordings(lessons, { count: counts.wordings, seed });
  const wordings = new Map(chosen.map((one, i) => [one, made[i] ?? []]));
  const inCopy =
    (copy: number) =>
    (example: Example): Example => {
      const others = wordings.get(example) ?? [];
      if (copy % AS_WRITTEN === 0 || others.length === 0) return example;
      const nth = copy - Math.ceil(copy / AS_WRITTEN);
      return withQuestion(example, others[nth % others.length] as string);
    };
  return Array.from({ length: copies }, (_, copy) => data.train.map(inCopy(copy))).flat();
}

const contentOf = (example: Example, role: "user" | "assistant"): string =>
  example.kind === "chat" ? (example.turns.find((turn) => turn.role === role)?.content ?? "") : "";

const questionOf = (example: Example): string => contentOf(example, "user");
const answerOf = (example: Example): string => contentOf(example, "assistant");

const isShort = (question: string): boolean => question.split(/\s+/u).length <= MAX_WORDS;

const withQuestion = (example: Example, question: string): Example =>
  example.kind === "chat"
    ? {
        ...example,
        turns: example.turns.map((turn) => (turn.role === "user" ? { ...turn, content: question } : turn)),
      }
    : example;
