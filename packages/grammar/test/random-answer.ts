import type { Matcher, TokenMask, Vocabulary } from "../src/index.ts";

/** What a random answer is drawn by. */
interface RandomAnswerOptions {
  readonly vocabulary: Vocabulary;
  /** Numbers from 0 to below 1. */
  readonly random: () => number;
  /** Tokens after which those that close what is open are preferred (60). */
  readonly budget?: number;
}

/** Tokens after the budget, until an answer is given up. */
const MORE = 400;
/** How often a token that closes is taken after the budget, where one is possible. */
const CLOSES = 0.9;
/** Texts that close what may be open, the shortest first. */
const CLOSING = ['"', "}", "]", '"}', "}}", '":', ":", ",", "0", "1", "a", "-", "T", "Z", "e", "\\"];

const closingTokens = new WeakMap<Vocabulary, readonly number[]>();

/** An end token, and the tokens of the texts that close. */
function findClosing(vocabulary: Vocabulary): readonly number[] {
  const known = closingTokens.get(vocabulary);
  if (known !== undefined) return known;
  const ids = new Map<string, number>();
  for (let id = 0; id < vocabulary.size; id++) {
    const text = String.fromCharCode(...vocabulary.bytesOf(id));
    if (!ids.has(text)) ids.set(text, id);
  }
  const found = [...vocabulary.endTokens, ...CLOSING.flatMap((text) => ids.get(text) ?? [])];
  closingTokens.set(vocabulary, found);
  return found;
}

const allows = ({ words }: TokenMask, id: number): boolean =>
  (((words[id >> 5] ?? 0) >>> (id & 31)) & 1) === 1;

/** One of the allowed tokens, all equally likely. */
function draw({ words, count }: TokenMask, random: () => number): number {
  let left = Math.floor(random() * count);
  for (const [i, word] of words.entries()) {
    if (word === 0) continue;
    for (let bit = 0; bit < 32; bit++) if (((word >>> bit) & 1) === 1 && left-- === 0) return 32 * i + bit;
  }
  throw new Error("no token is allowed, although the text has not ended");
}

/** A text of tokens that the masks allow, drawn as by logits that mean nothing; undefined where it does not end. */
export function randomAnswer(
  matcher: Matcher,
  { vocabulary, random, budget = 60 }: RandomAnswerOptions,
): string | undefined {
  const closing = findClosing(vocabulary);
  const pieces: Uint8Array[] = [];
  for (let i = 0; i < budget + MORE; i++) {
    const mask = matcher.mask();
    const closes = i >= budget && random() < CLOSES;
    const token = (closes ? closing.find((id) => allows(mask, id)) : undefined) ?? draw(mask, random);
    if (vocabulary.endTokens.includes(token)) return Buffer.concat(pieces).toString();
    matcher.accept(token);
    pieces.push(vocabulary.bytesOf(token));
  }
  return undefined;
}
