// What a run has taught, and what its base has lost by it, from the probabilities of answers that are known: nothing is sampled.
import { type EncodedExample, type Example, encodeExample } from "#data";
import { ORDINARY_TEXT } from "../augment/ordinary-text.ts";
import { replayExample } from "../augment/replay.ts";
import type { GradientSource } from "../gradients.ts";
import { measureTargets } from "../reference.ts";
import type { Parameters } from "../step-graph.ts";
import { hastyQuestions, heldOutAnswers, isQuestion, teachesChat } from "./augment.ts";
import { encodingOptions, type RunPlan } from "./plan.ts";

/** How many of the answers that were tried. */
export interface AnswerCount {
  readonly right: number;
  readonly of: number;
}

/** What a run has taught and lost, measured as it ends. */
export interface Outcome {
  /** Answers of the data that the model gives word for word. */
  readonly taught: AnswerCount;
  /** The same where the question is typed in haste, otherwise than it was learnt; undefined where nothing is a question. */
  readonly hasty: AnswerCount | undefined;
  /** The base's own answers to general prompts that are as likely as before, nearly; undefined where the base was not asked. */
  readonly kept: AnswerCount | undefined;
  /** Loss on ordinary text, in nats per token. */
  readonly textLoss: { readonly before: number; readonly after: number };
}

/** Answers of the data that are tried at most. */
const MOST = 40;
/** A token that is likelier than all others together is the one that is said. */
const CERTAIN = Math.log(0.5);
/** Nats per token that a kept answer has lost at most: a token is still three quarters as likely. */
const NEARLY = -Math.log(0.75);

/** Measures a run that teaches a chat model; undefined for another. `before` are the parameters as it began. */
export async function measureOutcome(
  plan: RunPlan,
  source: Pick<GradientSource, "logprobs">,
  before: Parameters,
): Promise<Outcome | undefined> {
  if (!teachesChat(plan)) return undefined;
  const encoding = encodingOptions(plan);
  const encode = (examples: readonly Example[]): readonly EncodedExample[] =>
    examples.map((one) => encodeExample(one, encoding)).filter(({ targetTokens }) => targetTokens > 0);
  const measure = async (examples: readonly EncodedExample[], parameters?: Parameters) => {
    const found: Float32Array[] = [];
    for await (const some of measureTargets(source, examples, { settings: plan.run, parameters }))
      for (const [i, logprobs] of some) found[i] = logprobs;
    return found;
  };
  const countCertain = async (examples: readonly Example[]): Promise<AnswerCount> => {
    const found = await measure(encode(examples));
    return { right: found.filter((one) => one.every((x) => x > CERTAIN)).length, of: found.length };
  };
  const lessons = evenly(plan.data.train, MOST);
  const questions = lessons.filter(isQuestion);
  const general = heldOutAnswers(plan).map((one, i) => replayExample(one, i + 1, encoding));
  const [first, last] = [await measure(general, before), await measure(general)];
  const kept = last.filter((one, i) => mean([one]) > mean([first[i] ?? one]) - NEARLY).length;
  const texts = encode(
    ORDINARY_TEXT.map((text, i) => ({ kind: "text", text, line: i + 1, source: { unit: "example" } })),
  );
  return {
    taught: await countCertain(lessons),
    hasty: questions.length === 0 ? undefined : await countCertain(hastyQuestions(questions, plan)),
    kept: general.length === 0 ? undefined : { right: kept, of: general.length },
    textLoss: { before: -mean(await measure(texts, before)), after: -mean(await measure(texts)) },
  };
}

/** At most `count` of them, from all parts. */
const evenly = <T>(all: readonly T[], count: number): readonly T[] =>
  all.length <= count
    ? all
    : Array.from({ length: count }, (_, i) => all[Math.floor((i * all.length) / count)] as T);

/** The mean of all numbers. */
function mean(parts: readonly Float32Array[]): number {
  const total = parts.reduce((sum, part) => part.reduce((all, x) => all + x, sum), 0);
  return total / parts.reduce((count, { length }) => count + length, 0);
}

/** An outcome in words: "40 of 40 answers word for word, 33 of 40 typed in haste". */
export function describeOutcome({ taught, hasty, kept, textLoss: { before, after } }: Outcome) {
  const count = ({ right, of }: AnswerCount): string => `${right} of ${of}`;
  const change = Math.round(100 * (after / before - 1));
  return {
    learnt: `${count(taught)} answers word for word${hasty === undefined ? "" : `, ${count(hasty)} where the question is typed in haste`}`,
    kept: `${kept === undefined ? "" : `${count(kept)} answers to general prompts, `}loss on ordinary text ${before.toFixed(2)} → ${after.toFixed(2)} (${change < 0 ? "" : "+"}${change} %)`,
  };
}

/** What is wrong with an outcome; undefined where nothing is. */
export function outcomeWarning({ kept, textLoss: { before, after } }: Outcome): string | undefined {
  const isLost = (kept !== undefined && kept.right < 0.7 * kept.of) || after > 1.1 * before;
  return isLost
    ? "much of what the base knew is lost: teach fewer passes (--epochs), keep more (--keep 0.5), or lower the --learning-rate"
    : undefined;
}
