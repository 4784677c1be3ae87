// What a run has taught, and what its base has lost by it, from the probabilities of answers that are known: nothing is sampled.
import { z } from "zod";
import { RUN_FILES } from "#adapters";
import { MosError } from "#common";
import { type EncodedExample, type Example, encodeAnswers } from "#data";
import { readJson } from "#files";
import { join } from "#platform";
import { ORDINARY_TEXT } from "../augment/ordinary-text.ts";
import { replayExample } from "../augment/replay.ts";
import type { GradientSource } from "../gradients.ts";
import { measureTargets } from "../reference.ts";
import { mean } from "../rollouts/advantages.ts";
import type { Parameters } from "../step-graph.ts";
import { hasTargets, hastyQuestions, heldOutAnswers, teachesChat } from "./augment.ts";
import { encodingOptions, type RunPlan } from "./plan.ts";

/** How many of the answers that were tried. */
const answerCount = z.object({ right: z.int().min(0), of: z.int().min(0) });
type AnswerCount = z.output<typeof answerCount>;

const outcomeSchema = z.object({
  /** Answers of the data that the model gives word for word; undefined where the data are plain text. */
  taught: answerCount.optional(),
  /** The same where the question is typed in haste; undefined where no question is short, or they are many. */
  hasty: answerCount.optional(),
  /** The base's own answers to general prompts that are as likely as before, nearly; undefined where few were asked for. */
  kept: answerCount.optional(),
  /** Loss on ordinary text, in nats per token. */
  textLoss: z.object({ before: z.number(), after: z.number() }),
});
/** What a run has taught and lost, measured as it ends. */
export type Outcome = z.output<typeof outcomeSchema>;

/** The outcome of a run by its folder; undefined where none was measured, or the file is another one. */
export const readOutcome = (run: string): Promise<Outcome | undefined> =>
  readJson(join(run, RUN_FILES.outcome), outcomeSchema, { code: "bad_data", maximumBytes: 4096 }).catch(
    (cause: unknown) => {
      if (cause instanceof MosError) return undefined;
      throw cause;
    },
  );

/** Answers of the data that are tried at most. */
const MOST = 40;
/** A token that is likelier than all others together is the one that is said. */
const CERTAIN = Math.log(0.5);
/** Nats per token that a kept answer has lost at most: a token is still three quarters as likely. */
const NEARLY = -Math.log(0.75);

/** What it is measured with. */
export interface OutcomeOptions {
  readonly source: Pick<GradientSource, "logprobs">;
  /** The parameters as the run began. */
  readonly before: Parameters;
  readonly signal?: AbortSignal | undefined;
}

/** Measures a run that teaches a chat model; undefined for another, and where the signal is aborted. */
export async function measureOutcome(
  plan: RunPlan,
  { source, before, signal }: OutcomeOptions,
): Promise<Outcome | undefined> {
  if (!teachesChat(plan)) return undefined;
  // programs attend no further back than the examples of the run need
  const encoding = { ...encodingOptions(plan), maxLength: Math.max(2, plan.train.report.longest) };
  const encode = (examples: readonly Example[]): readonly EncodedExample[] =>
    examples.flatMap((one) => encodeAnswers(one, encoding)).filter(hasTargets);
  const measure = async (examples: readonly EncodedExample[], parameters?: Parameters) => {
    const found: (readonly number[])[] = [];
    for await (const some of measureTargets(source, examples, { settings: plan.run, parameters })) {
      for (const [i, logprobs] of some) found[i] = [...logprobs];
      if (signal?.aborted === true) break;
    }
    return found;
  };
  const countCertain = async (examples: readonly Example[]): Promise<AnswerCount | undefined> => {
    const found = await measure(encode(evenly(examples, MOST)));
    const right = found.filter((one) => one.every((x) => x > CERTAIN)).length;
    return found.length === 0 ? undefined : { right, of: found.length };
  };
  const general = heldOutAnswers(plan)
    .map((one, i) => replayExample(one, i + 1, encoding))
    .filter(hasTargets);
  const [first, last] = [await measure(general, before), await measure(general)];
  const kept = last.filter((one, i) => mean(one) > mean(first[i] ?? one) - NEARLY).length;
  const texts = encode(
    ORDINARY_TEXT.map((text, i) => ({ kind: "text", text, line: i + 1, source: { unit: "example" } })),
  );
  const lossOf = async (parameters?: Parameters): Promise<number> =>
    -mean((await measure(texts, parameters)).flat());
  const outcome = {
    taught: await countCertain(plan.data.train.filter(({ kind }) => kind !== "text")),
    hasty: await countCertain(await hastyQuestions(plan)),
    kept: general.length === 0 ? undefined : { right: kept, of: general.length },
    textLoss: { before: await lossOf(before), after: await lossOf() },
  };
  return signal?.aborted === true ? undefined : outcome;
}

/** At most `count` of them, from all parts. */
export const evenly = <T>(all: readonly T[], count: number): readonly T[] =>
  all.length <= count
    ? all
    : Array.from({ length: count }, (_, i) => all[Math.floor((i * all.length) / count)] as T);

/** What was learnt and what was kept, in words, and both in a text. */
export function describeOutcome({ taught, hasty, kept: general, textLoss: { before, after } }: Outcome) {
  const count = ({ right, of }: AnswerCount): string => `${right} of ${of}`;
  const change = Math.round(100 * (after / before - 1));
  const learnt = [
    ...(taught === undefined ? [] : [`${count(taught)} answers word for word`]),
    ...(hasty === undefined ? [] : [`${count(hasty)} where the question is typed in haste`]),
  ].join(", ");
  const kept = `${general === undefined ? "" : `${count(general)} answers to general prompts, `}loss on ordinary text ${before.toFixed(2)} → ${after.toFixed(2)} (${change < 0 ? "" : "+"}${change} %)`;
  return { learnt, kept, text: `${learnt === "" ? "" : `Learnt: ${learnt}. `}Kept: ${kept}.` };
}

/** What is wrong with an outcome; undefined where nothing is. */
export function outcomeWarning({ kept, textLoss: { before, after } }: Outcome): string | undefined {
  const isLost = (kept !== undefined && kept.right < 0.7 * kept.of) || after > 1.1 * before;
  return isLost
    ? "much of what the base knew is lost: teach fewer passes (--epochs), keep more (--keep 1), or lower the --learning-rate"
    : undefined;
}
