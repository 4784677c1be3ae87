// From an example to token ids and labels. Targets of the loss are only what the model has to say: the tokens of
// assistant messages or completions, and the end of turn.
import { MosError, monotonicNow, omitUndefined } from "#common";
import { nextTurn } from "#platform";
import type {
  AnsweredExample,
  ChatExample,
  Example,
  Message,
  PairExample,
  Place,
  PromptExample,
  RatedExample,
} from "./example.ts";
import { type Labelled, labelledTokens, type PromptFormatOptions } from "./prompt-formats.ts";

/** Label of a token that is not a target of the loss, as PyTorch has it. */
export const IGNORED = -100;

/**
 * What a target token has besides its id: its weight in the loss, its log-probability by the reference and by the policy
 * that wrote it, the advantage of its answer, and 1 or 0 for whether that answer is desirable, whether it is a token of the
 * prompt, and whether it is to stay as likely as by the reference, with a weight of 0.
 */
export type TokenColumn = "weight" | "reference" | "advantage" | "old" | "desirable" | "prompt" | "anchor";

/** Numbers of target tokens, by column. */
export type TokenColumns = Readonly<Partial<Record<TokenColumn, Float32Array>>>;

/** Tokens, and which of them are targets. */
export interface LabelledIds {
  readonly ids: Int32Array;
  /** Labels of the same length, not shifted: the token's own id if it is a target, −100 otherwise. */
  readonly labels: Int32Array;
}

/** A training example as token ids, at most `maxLength`. */
export interface EncodedExample extends Place, LabelledIds {
  /** Tokens that are targets. The first token of a text is never one, since nothing predicts it. */
  readonly targetTokens: number;
  readonly truncated: boolean;
  /** Targets that truncation cut off. */
  readonly truncatedTargets: number;
  /** The same answer behind its prompt with the hint, which the teacher reads. */
  readonly hinted?: EncodedExample;
  /** What truncation cut off a rated answer, at most `maxLength` tokens: behind a shorter prompt, they fit. */
  readonly rest?: LabelledIds;
  /** Tokens of each of its sequences, where it has several: prompt and chosen answer, prompt and rejected answer. */
  readonly sequences?: readonly number[];
  /** Tokens that all of these begin with, which come first and once, and are not counted in `sequences`; 0 by default. */
  readonly shared?: number;
  /** Numbers of its target tokens, in their order. The first token of a sequence is never a target. */
  readonly columns?: TokenColumns;
}

/** Tokens of each of the sequences of an example, behind those that they share. */
export const sequenceLengths = ({
  ids,
  sequences,
}: Pick<EncodedExample, "ids" | "sequences">): readonly number[] => sequences ?? [ids.length];

/** Options of encoding examples as a run learns them. */
export interface EncodeOptions extends PromptFormatOptions {
  /** Only the last answer of a conversation is learnt. */
  readonly lastAnswerOnly?: boolean | undefined;
  /** The answers of a pair are learnt apart, each rated. */
  readonly splitPairs?: boolean | undefined;
  /** Sequences of an example never share their prompt, whether it pays or not. */
  readonly repeatsPrompts?: boolean | undefined;
}

/**
 * Encodes one example; of a pair its two sequences, in one row.
 *
 * @throws MosError `bad_data`, with the line, when its messages do not fit the prompt format or the template
 * refuses them; `bad_option` for a `maxLength` below 2.
 */
export function encodeExample(example: Example, options: EncodeOptions): EncodedExample {
  checkLength(options);
  switch (example.kind) {
    case "pair":
      return joinPair(encodePair(example, options));
    case "rated":
      return encodeRated(example, options);
    case "chat":
      return example.hint === undefined
        ? encodeSequence(example, options)
        : encodeHinted(example, example.hint, options);
    default:
      return encodeSequence(example, options);
  }
}

function checkLength({ maxLength }: EncodeOptions): void {
  if (!Number.isSafeInteger(maxLength) || maxLength < 2)
    throw new MosError(
      "bad_option",
      `maxLength is ${maxLength}; give a whole number of at least 2, as one token predicts the next`,
    );
}

const encodeSequence = (example: OneSequence, options: EncodeOptions): EncodedExample =>
  toEncoded(example, labelSequence(example, options), options.maxLength);

type OneSequence = Parameters<typeof labelledTokens>[0];

const labelSequence = (example: OneSequence, options: EncodeOptions): Labelled =>
  labelledTokens(
    example.kind === "chat" && options.lastAnswerOnly === true ? lastAnswer(example) : example,
    options,
  );

/** Tokens of the longer of its prompts with its answer. */
export const longestSequence = ({ ids, hinted }: EncodedExample): number =>
  Math.max(ids.length, hinted?.ids.length ?? 0);

/** Some of the tokens. */
function labelledIds({ ids, weights }: Labelled, from: number, to: number): LabelledIds {
  const part = Int32Array.from(ids.slice(from, to));
  return { ids: part, labels: part.map((id, i) => ((weights[from + i] ?? 0) > 0 ? id : IGNORED)) };
}

/** The first `maxLength` tokens as an example. */
function toEncoded({ line, source }: Place, labelled: Labelled, maxLength: number): EncodedExample {
  const { ids, weights } = labelled;
  const length = Math.min(ids.length, maxLength);
  const targets = weights.filter((weight, i) => i > 0 && weight > 0);
  const weight = Float32Array.from(weights.slice(1, length).filter((one) => one > 0));
  return {
    line,
    ...omitUndefined({ source }),
    ...labelledIds(labelled, 0, length),
    targetTokens: weight.length,
    truncated: length < ids.length,
    truncatedTargets: targets.length - weight.length,
    ...(weight.some((one) => one !== 1) ? { columns: { weight } } : {}),
  };
}

/** An answer whose targets say whether it is desirable. */
function encodeRated({ answer, isDesirable }: RatedExample, options: EncodeOptions): EncodedExample {
  const { maxLength } = options;
  const labelled = labelSequence(answer, options);
  const encoded = toEncoded(answer, labelled, maxLength);
  const desirable = new Float32Array(encoded.targetTokens).fill(Number(isDesirable));
  return {
    ...encoded,
    ...(encoded.truncated ? { rest: labelledIds(labelled, maxLength, 2 * maxLength) } : {}),
    columns: { ...encoded.columns, desirable },
  };
}

/** Messages whose last one of the user has the hint, after a blank line as in TRL: what a teacher reads. */
export function withHint<T extends { readonly role: string; readonly content: string }>(
  messages: readonly T[],
  hint: string,
): T[] {
  const asked = messages.findLastIndex(({ role }) => role === "user");
  return messages.map((message, i) =>
    i === asked ? { ...message, content: `${message.content}\n\n${hint}` } : message,
  );
}

/** An answer behind its prompt, and behind the prompt with the hint. What does not fit behind both is cut off. */
function encodeHinted(example: ChatExample, hint: string, options: EncodeOptions): EncodedExample {
  const turns = withHint(example.turns, hint);
  const student = labelSequence(example, options);
  const answerFrom = ({ weights }: Labelled): number => weights.findIndex((weight) => weight > 0);
  const teacher = labelSequence({ ...example, turns }, options);
  const [from, hintedFrom] = [answerFrom(student), answerFrom(teacher)];
  const hinted: Labelled = {
    ids: [...teacher.ids.slice(0, hintedFrom), ...student.ids.slice(from)],
    weights: [...teacher.weights.slice(0, hintedFrom), ...student.weights.slice(from)],
  };
  const room = Math.max(0, options.maxLength - Math.max(from, hintedFrom));
  const encode = (labelled: Labelled, prompt: number) => toEncoded(example, labelled, prompt + room);
  return { ...encode(student, from), hinted: encode(hinted, hintedFrom) };
}

/**
 * The tokens of a prompt up to where its answer begins: of an example up to the last answer that is to be learnt. Undefined
 * where it is too long.
 *
 * @throws MosError as `encodeExample`.
 */
export function encodePromptOf(
  example: AnsweredExample | PromptExample,
  options: EncodeOptions,
): Int32Array | undefined {
  const { ids, labels, truncated } = encodeExample(example, { ...options, lastAnswerOnly: true });
  if (example.kind === "prompt") return truncated ? undefined : ids;
  const answer = labels.findIndex((label) => label !== IGNORED);
  return answer > 0 ? ids.subarray(0, answer) : undefined;
}

/** The conversation with its last answer as the only one to be learnt. */
function lastAnswer<T extends { readonly turns: readonly Message[] }>(example: T): T {
  const last = example.turns.findLastIndex(({ isTarget }) => isTarget);
  return { ...example, turns: example.turns.map((turn, i) => ({ ...turn, isTarget: i === last })) };
}

/** The sequences of a pair: the prompt with the chosen answer, and with the rejected one. @inline */
interface EncodedPair {
  readonly chosen: EncodedExample;
  readonly rejected: EncodedExample;
  /** Tokens that both begin with, where these are to be computed once; else 0. */
  readonly shared: number;
}

/** Encodes both answers. Where they are too long together, the longer one is truncated first. */
function encodePair({ chosen, rejected, ...place }: PairExample, options: EncodeOptions): EncodedPair {
  const { maxLength } = options;
  const one = labelledTokens(chosen, options);
  const other = labelledTokens(rejected, options);
  const common = Math.min(commonPrompt(one, other), maxLength);
  const answers = [one, other].map(({ ids: { length } }) => length - common);
  const shared = options.repeatsPrompts !== true && paysToShare(common, answers) ? common : 0;
  const room = maxLength - shared;
  const most = ({ ids: { length } }: Labelled): number =>
    shared + Math.max(Math.floor(room / 2), room - (length - shared));
  return { chosen: toEncoded(place, one, most(other)), rejected: toEncoded(place, other, most(one)), shared };
}

/** Tokens that both begin with and that predict no target: the token before an answer stands before each answer. */
function commonPrompt(one: Labelled, other: Labelled): number {
  const isTarget = (i: number): boolean => [one, other].some(({ weights }) => (weights[i] ?? 0) > 0);
  let n = 0;
  while (n < one.ids.length && one.ids[n] === other.ids[n] && !isTarget(n) && !isTarget(n + 1)) n++;
  return n;
}

/** Both sequences as one example, in which there is nothing to learn where an answer is lost. */
function joinPair({ chosen, rejected, shared }: EncodedPair): EncodedExample {
  const joined = joinSequences([chosen, rejected], shared);
  const isWhole = chosen.targetTokens > 0 && rejected.targetTokens > 0;
  return isWhole ? joined : { ...joined, targetTokens: 0 };
}

/**
 * Encodes one example as it is trained: in one sequence, or in one for each answer where the chat template lays a
 * conversation out anew for each, as those do that leave out the reasoning of earlier answers. Each answer then stands
 * behind what the model is given when it writes it.
 *
 * @throws MosError as `encodeExample`.
 */
export function encodeAnswers(example: Example, options: EncodeOptions): readonly EncodedExample[] {
  if (example.kind === "pair" && options.splitPairs === true)
    return ratedAnswers(example).map((one) => encodeExample(one, options));
  try {
    return [encodeExample(example, options)];
  } catch (error) {
    const apart = error instanceof MosError && error.code === "bad_config" ? answersApart(example) : [];
    if (apart.length === 0) throw error;
    return apart.map((one) => encodeExample(one, options));
  }
}

/** The answers of a pair apart, each rated. */
const ratedAnswers = ({ chosen, rejected, ...place }: PairExample): readonly RatedExample[] => [
  { ...place, kind: "rated", answer: chosen, isDesirable: true },
  { ...place, kind: "rated", answer: rejected, isDesirable: false },
];

/** A sequence of an example, and what its answer is. */
interface Sequence {
  readonly example: Exclude<Example, PairExample | RatedExample>;
  readonly encoded: EncodedExample;
  readonly answer?: AnswerKind;
}

/** What an answer is in a preference. */
export type AnswerKind = "chosen" | "rejected" | "desirable" | "undesirable";

/** Encodes the sequences of an example as `encodeAnswers` does, one by one. */
export function encodeSequences(example: Example, options: EncodeOptions): readonly Sequence[] {
  if (example.kind === "pair") {
    if (options.splitPairs === true)
      return ratedAnswers(example).flatMap((one) => encodeSequences(one, options));
    const encoded = encodePair(example, options);
    return (["chosen", "rejected"] as const).map((answer) => ({
      example: example[answer],
      encoded: encoded[answer],
      answer,
    }));
  }
  if (example.kind === "rated") {
    const answer = example.isDesirable ? "desirable" : "undesirable";
    return [{ example: example.answer, encoded: encodeExample(example, options), answer }];
  }
  return encodeAnswers(example, options).map((encoded) => ({ example, encoded }));
}

/** The conversation up to each of its answers that is to be learnt, and only that one to be learnt. */
const answersApart = (example: Example): readonly AnsweredExample[] =>
  example.kind !== "chat"
    ? []
    : example.turns.flatMap((turn, k) =>
        turn.isTarget ? [lastAnswer({ ...example, turns: example.turns.slice(0, k + 1) })] : [],
      );

/** Report on the encoding of a data set. */
export interface EncodingReport {
  /** Examples that were kept, like all numbers here but `dropped`; one for each answer where these are encoded apart. */
  readonly examples: number;
  readonly tokens: number;
  readonly targetTokens: number;
  /** Examples that were truncated. */
  readonly truncated: number;
  /** Targets that truncation cut off. */
  readonly truncatedTargets: number;
  /** Examples that were left out because no target was left in them. */
  readonly dropped: number;
  /** Tokens of the longest example. */
  readonly longest: number;
}

/** Milliseconds without a look at signals and timers: conversations may be long. */
const MAX_BUSY_MILLISECONDS = 50;

/** The encoded examples of a data set. */
export interface EncodedDataset {
  readonly encoded: readonly EncodedExample[];
  readonly report: EncodingReport;
}

/**
 * Encodes examples in order, and leaves out those in which truncation or the prompt format leaves no target.
 *
 * @throws MosError as `encodeExample` does, `bad_data` when no example is left, and `cancelled`.
 */
export async function encodeExamples(
  examples: readonly Example[],
  options: EncodeOptions & { readonly signal?: AbortSignal | undefined },
): Promise<EncodedDataset> {
  const encoded: EncodedExample[] = [];
  /** An example may be there several times. */
  const known = new Map<Example, readonly EncodedExample[]>();
  let dropped = 0;
  let since = monotonicNow();
  for (const [i, example] of examples.entries()) {
    if (monotonicNow() - since > MAX_BUSY_MILLISECONDS) {
      await nextTurn(); // so that signals and timers are handled
      since = monotonicNow();
    }
    if (options.signal?.aborted === true)
      throw new MosError("cancelled", `cancelled after ${i} of ${examples.length} examples were encoded`);
    const answers = known.get(example) ?? encodeAnswers(example, options);
    known.set(example, answers);
    // a prompt has no answer yet, and makes no sense in part
    const kept = answers.filter(({ targetTokens, truncated }) =>
      example.kind === "prompt" ? !truncated : targetTokens > 0,
    );
    encoded.push(...kept);
    dropped += answers.length - kept.length;
  }
  if (encoded.length === 0)
    throw new MosError(
      "bad_data",
      examples.length === 0
        ? "there are no examples to encode"
        : `none of the ${examples.length} examples has target tokens left after truncation to ${options.maxLength} tokens; raise --max-length`,
    );
  const sum = (of: (one: EncodedExample) => number): number =>
    encoded.reduce((total, one) => total + of(one), 0);
  const report: EncodingReport = {
    examples: encoded.length,
    tokens: sum(({ ids }) => ids.length),
    targetTokens: sum(({ targetTokens }) => targetTokens),
    truncated: sum(({ truncated }) => Number(truncated)),
    truncatedTargets: sum(({ truncatedTargets }) => truncatedTargets),
    dropped,
    longest: encoded.reduce((max, one) => Math.max(max, longestSequence(one)), 0),
  };
  return { encoded, report };
}

// Sequences that begin with the same prompt, as one example in which it stands once: it is computed once, and all of the answers
// attend to it.

/**
 * Comparisons of a query with a key that take as long as the rest of a token, in small models. In larger ones the rest of a
 * token takes longer.
 */
const TOKEN_COMPARISONS = 4096;

/**
 * Whether it is faster to compute a prompt once for all answers, of so many tokens: that saves the prompt's tokens, but the
 * answers are compared with each other, and what is found is thrown away.
 */
function paysToShare(prompt: number, answers: readonly number[]): boolean {
  let [before, wasted] = [0, 0];
  for (const length of answers) {
    wasted += before * length;
    before += length;
  }
  return prompt * (answers.length - 1) * TOKEN_COMPARISONS > wasted;
}

/** The columns of examples, one after another. */
export function joinColumns(examples: readonly EncodedExample[]): TokenColumns {
  const names = new Set(examples.flatMap(({ columns = {} }) => Object.keys(columns) as TokenColumn[]));
  const targets = examples.reduce((sum, { targetTokens }) => sum + targetTokens, 0);
  const join = (name: TokenColumn): Float32Array => {
    const joined = new Float32Array(targets).fill(name === "weight" ? 1 : 0);
    let from = 0;
    for (const { columns, targetTokens } of examples) {
      joined.set(columns?.[name] ?? [], from);
      from += targetTokens;
    }
    return joined;
  };
  return Object.fromEntries([...names].map((name) => [name, join(name)]));
}

/**
 * Sequences as one example.
 *
 * @param shared tokens that all of them begin with and that stand in the example once. None but the first sequence has targets
 * among them, or as the next token.
 */
export function joinSequences(sequences: readonly EncodedExample[], shared: number): EncodedExample {
  const [first] = sequences as readonly [EncodedExample];
  const join = (field: "ids" | "labels"): Int32Array =>
    Int32Array.from([
      ...first[field].subarray(0, shared),
      ...sequences.flatMap((one) => [...one[field].subarray(shared)]),
    ]);
  const sum = (field: "targetTokens" | "truncatedTargets"): number =>
    sequences.reduce((total, one) => total + one[field], 0);
  const columns = joinColumns(sequences);
  return {
    ...first,
    ids: join("ids"),
    labels: join("labels"),
    targetTokens: sum("targetTokens"),
    truncated: sequences.some(({ truncated }) => truncated),
    truncatedTargets: sum("truncatedTargets"),
    sequences: sequences.map(({ ids }) => ids.length - shared),
    ...(shared === 0 ? {} : { shared }),
    ...(Object.keys(columns).length === 0 ? {} : { columns }),
  };
}

/** Tokens of the longest example whose sequences share a prompt; undefined where none do. */
export function sharedReach(examples: readonly EncodedExample[]): number | undefined {
  const lengths = examples.flatMap(({ ids, shared = 0 }) => (shared > 0 ? [ids.length] : []));
  return lengths.length === 0 ? undefined : lengths.reduce((most, length) => Math.max(most, length), 0);
}
