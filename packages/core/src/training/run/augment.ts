// What a run has besides its examples, so that it is understood when asked otherwise and forgets little: other wordings of its
// questions, which it learns, and the base's own answers to general prompts, which stay as likely as they were.
import { MosError } from "#common";
import {
  answerText,
  type ChatExample,
  type EncodedDataset,
  type EncodedExample,
  type EncodeOptions,
  type EncodingReport,
  type Example,
} from "#data";
import { openModel, parameterCount, sourceDigest } from "#models";
import { answerCache } from "../augment/answer-cache.ts";
import { GENERAL_PROMPTS } from "../augment/general-prompts.ts";
import {
  anchoredExample,
  answerPrompts,
  isAnchored,
  MAX_BATCH,
  MAX_TOKENS,
  messagesOf,
  type Replayed,
  replayExample,
  replayText,
} from "../augment/replay.ts";
import { isShort, otherWordings } from "../augment/wordings.ts";
import type { AugmentedRecord, RunRecord } from "../run-record.ts";
import type { RunOptions } from "./interface.ts";
import type { RunPlan } from "./plan.ts";

/** Answers of the base that are made before a run, of all that it needs. */
export interface ReplayEvent {
  readonly type: "replay";
  readonly done: number;
  readonly total: number;
}

/** How much a run has besides its examples. */
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
  /** What a resumed run goes on with. */
  readonly record: AugmentedRecord;
  /** Of one pass over the data as they are. */
  readonly report: EncodingReport;
  readonly counts: AugmentedCounts;
}

/** Copies of the data at most: later passes repeat them. */
const MAX_COPIES = 30;
/** One copy of three has the questions as they stand. */
const AS_WRITTEN = 3;
/** Examples whose questions are reworded without being asked for: more have wordings of their own. */
const FEW = 500;
const REWORD = 20;
/** Parameters of a base that has something to keep. */
const LEAST_PARAMETERS = 50_000_000;
/** Answers that are replayed for each example that a run sees, where a run has several passes. */
const KEEP = 0.5;
/** How often an answer is replayed at most: more of the same keeps little more. */
const MAX_REPEATS = 10;

/** The base's answers that are kept apart to see what is lost. */
const HELD_OUT = 20;

type ChatPlan = Pick<RunPlan, "settings" | "text" | "base">;

const isChat = ({ settings, text }: Pick<RunPlan, "settings" | "text">): boolean =>
  settings.objective === "sft" && settings.promptFormat === "template" && text.template.source !== "fallback";

/** True if a run teaches answers to a chat model that has something to lose. */
export const teachesChat = (plan: ChatPlan): boolean =>
  isChat(plan) && parameterCount(plan.base.config) >= LEAST_PARAMETERS;

/** True if a run compares its model with the one that it began with. */
export const comparesWithStart = (plan: ChatPlan & Pick<RunPlan, "objective" | "train">): boolean =>
  plan.objective.usesReference || teachesChat(plan) || plan.train.encoded.some(isAnchored);

/** What a run is given besides its examples; undefined where its objective or its model has no use for it. */
function planAugmentation(plan: RunPlan) {
  const { settings, data } = plan;
  if (!isChat(plan) || !data.train.some(isQuestion)) return undefined;
  const copies = Math.min(MAX_COPIES, Math.ceil(settings.epochs));
  const isUsual = copies > 1 && teachesChat(plan);
  const { keep = isUsual ? KEEP : 0, reword = isUsual && data.train.length <= FEW ? REWORD : 0 } = settings;
  const wordings = Math.min(reword, copies - Math.ceil(copies / AS_WRITTEN));
  const most = MAX_REPEATS * GENERAL_PROMPTS.length;
  const replayed = Math.min(most, Math.round(keep * data.train.length * copies));
  return wordings + replayed === 0 ? undefined : { copies, wordings, replayed };
}

/** What a resumed run began with. Throws `bad_option` where it is asked for something else. */
function recordedAugmentation({ settings }: RunPlan, { augmented }: RunRecord): AugmentedRecord | undefined {
  for (const name of ["keep", "reword"] as const) {
    const [before, now] = [augmented?.asked[name], settings[name]];
    if (now !== undefined && now !== before && !(now === 0 && augmented === undefined))
      throw new MosError(
        "bad_option",
        `${name} was ${before ?? "left out"} when the run began, now ${now}. Resume with the same settings`,
      );
  }
  return augmented;
}

/** A question, perhaps with a system message, and its answer. */
const isQuestion = (example: Example): example is ChatExample => {
  if (example.kind !== "chat" || example.tools !== undefined) return false;
  const turns = example.turns.filter(({ role }) => role !== "system");
  return turns.length === 2 && turns[0]?.role === "user" && turns[1]?.isTarget === true;
};

/** What the run of a plan learns in all its passes; undefined where that is its examples alone. */
export async function* augment(
  plan: RunPlan,
  { recorded, ...options }: AskOptions & { readonly recorded: RunRecord | undefined },
): AsyncGenerator<ReplayEvent, Augmented | undefined> {
  if (recorded !== undefined) {
    const found = recordedAugmentation(plan, recorded);
    return found && (await toAugmented(plan, found, options));
  }
  const planned = planAugmentation(plan);
  if (planned === undefined) return undefined;
  const { keep, reword } = plan.settings;
  const answers = yield* answerAll(plan, planned.replayed, options);
  return toAugmented(plan, { ...planned, answers: [...answers], asked: { keep, reword } }, options);
}

/** The same before the base has answered, with answers as long as they may become. */
export async function expectAugmented(
  plan: RunPlan,
  options: Pick<AskOptions, "signal">,
): Promise<Augmented | undefined> {
  const planned = planAugmentation(plan);
  const answer = "word ".repeat(EXPECTED_WORDS).trim();
  const answers = GENERAL_PROMPTS.slice(0, planned?.replayed).map((prompt) => ({
    prompt,
    answer,
    isCut: true,
  }));
  return planned && toAugmented(plan, { ...planned, answers, asked: {} }, options);
}

/** Words of an answer as most bases give it. */
const EXPECTED_WORDS = 45;

async function toAugmented(
  plan: RunPlan,
  record: AugmentedRecord,
  { signal }: Pick<AskOptions, "signal">,
): Promise<Augmented> {
  const { copies, wordings, replayed, answers } = record;
  const { train, reworded } = await rewordQuestions(plan, { copies, wordings, signal });
  const counts = { reworded, wordings, replayed: answers.length === 0 ? 0 : replayed };
  return { train, record, counts, report: plan.train.report };
}

type AskOptions = Pick<RunOptions, "signal" | "adapter" | "session" | "cacheFolder">;

async function digestAt(model: string): Promise<string> {
  await using files = await openModel(model);
  return await sourceDigest(files);
}

/** The base's answers to as many general prompts; where an adapter is trained further, that adapter's. */
async function* answerAll(
  { model, text, settings: { system, chatTemplateKwargs, baseDtype }, memory: { computeDtype } }: RunPlan,
  count: number,
  { signal, adapter, session, cacheFolder }: AskOptions,
): AsyncGenerator<ReplayEvent, readonly Replayed[]> {
  const mergedAdapter = adapter !== undefined && "from" in adapter ? adapter.from : undefined;
  const { device, threads } = session ?? {};
  const forms = typeof model === "string" ? { baseDtype, computeDtype } : {};
  const asked = { model, mergedAdapter, chatTemplateKwargs, device, threads, signal, ...forms };
  const render = { addGenerationPrompt: true, variables: chatTemplateKwargs ?? {} };
  const decisive = async () => ({
    base: typeof model === "string" ? await digestAt(model) : model.model.fingerprint,
    prompts: GENERAL_PROMPTS.map((prompt) => text.template.render(messagesOf(prompt, system), render)),
    ...{ ...forms, device: device ?? null, maxTokens: MAX_TOKENS },
  });
  const isBase = cacheFolder !== undefined && mergedAdapter === undefined;
  const cache = isBase ? answerCache(cacheFolder, await decisive()) : undefined;
  const known = ((await cache?.read()) ?? []).slice(0, count);
  const answers = [...known];
  const prompts = GENERAL_PROMPTS.slice(known.length, count);
  let done = 0;
  const conversations = prompts.map((prompt) => messagesOf(prompt, system));
  for await (const [i, one] of answerPrompts(conversations, {
    ...asked,
    maxTokens: MAX_TOKENS,
    maxBatch: MAX_BATCH,
  })) {
    answers[known.length + i] = { prompt: prompts[i] ?? "", ...one };
    done += 1;
    yield { type: "replay", done, total: prompts.length };
  }
  if (prompts.length > 0) await cache?.write(answers);
  // a model that thinks first may have said nothing yet
  return answers.filter(({ answer }) => answer !== "");
}

export const hasTargets = ({ targetTokens }: EncodedExample): boolean => targetTokens > 0;

/** How many answers are replayed: of enough, the last ones are not. */
const replayedAnswers = ({ length }: readonly Replayed[]): number =>
  length > 4 * HELD_OUT ? length - HELD_OUT : length;

/** Answers of the base that are not replayed. */
export function heldOutAnswers({ augmented }: RunPlan): readonly Replayed[] {
  const { answers } = augmented?.record ?? { answers: [] };
  return answers.slice(replayedAnswers(answers));
}

/** The short questions of the data as a hurried user types them; none where they are many. */
export async function hastyQuestions({ data, settings }: RunPlan): Promise<readonly Example[]> {
  const chosen = data.train.filter(isQuestion).filter((one) => isShort(questionOf(one)));
  if (chosen.length > FEW) return [];
  const wordings = await otherWordings(chosen.map(toLesson), { count: 1, seed: settings.seed + 1 });
  return chosen.map((one, i) => withQuestion(one, wordings[i]?.[0] ?? questionOf(one)));
}

const toLesson = (example: ChatExample) => ({
  question: questionOf(example),
  answer: answerText(example) ?? "",
});

/** The examples of all passes with what is replayed in them; what is reported of them is of the data alone. */
export function withReplay(
  { encoded }: EncodedDataset,
  { record: { answers }, counts: { replayed }, report }: Augmented,
  encoding: EncodeOptions,
): EncodedDataset {
  const kept = answers
    .slice(0, replayedAnswers(answers))
    .flatMap((one, i) => [
      replayExample(one, i + 1, encoding),
      ...(i % 2 === 0 ? [replayText(one, i + 1, encoding)] : []),
    ])
    .map(anchoredExample)
    .filter(hasTargets);
  const replay = Array.from({ length: replayed }, (_, i) => kept[i % kept.length]);
  const all = [...encoded, ...replay.filter((one) => one !== undefined)]; // there may be none
  const longest = all.reduce((most, { ids }) => Math.max(most, ids.length), 0);
  return { encoded: all, report: { ...report, longest } };
}

/** The data so many times: in each copy but every third one, questions have other wordings. */
async function rewordQuestions(
  { data, settings: { seed } }: RunPlan,
  {
    copies,
    wordings: count,
    signal,
  }: Pick<AugmentedRecord, "copies" | "wordings"> & Pick<AskOptions, "signal">,
): Promise<{ readonly train: readonly Example[]; readonly reworded: number }> {
  const chosen = count === 0 ? [] : data.train.filter(isQuestion).filter((one) => isShort(questionOf(one)));
  const made = await otherWordings(chosen.map(toLesson), { count, seed, signal });
  const reworded = new Map<Example, readonly Example[]>(
    chosen.map((one, i) => [one, (made[i] ?? []).map((question) => withQuestion(one, question))]),
  );
  const inCopy =
    (copy: number) =>
    (example: Example): Example => {
      const others = reworded.get(example) ?? [];
      const nth = copy - Math.ceil(copy / AS_WRITTEN);
      return (copy % AS_WRITTEN === 0 ? undefined : others[nth % others.length]) ?? example;
    };
  const train = Array.from({ length: copies }, (_, copy) => data.train.map(inCopy(copy))).flat();
  return { train, reworded: chosen.length };
}

const questionOf = ({ turns }: ChatExample): string =>
  turns.find(({ role }) => role === "user")?.content ?? "";

const withQuestion = (example: ChatExample, question: string): ChatExample => ({
  ...example,
  turns: example.turns.map((turn) => (turn.role === "user" ? { ...turn, content: question } : turn)),
});
