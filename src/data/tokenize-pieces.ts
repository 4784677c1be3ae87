// A text in pieces, some of which are targets of the loss. The ids are those of the whole text wherever it has a token
// boundary between two pieces; where a token would straddle the boundary, the rest is tokenised separately, just as in
// generation the prompt is tokenised without its answer.
import type { Tokenizer } from "#text";

/** A part of a text. */
export interface Piece {
  readonly text: string;
  readonly isTarget: boolean;
}

/** Token ids, and whether each is a target. */
export interface Labelled {
  readonly ids: readonly number[];
  readonly isTarget: readonly boolean[];
}

/** Encodes pieces as one text, with a BOS token first if the tokenizer adds one and the text does not begin with it. */
export function tokenizePieces(pieces: readonly Piece[], tokenizer: Tokenizer): Labelled {
  const encode = (text: string): readonly number[] => tokenizer.encode(text, { addSpecialTokens: false });
  const merged = mergeEqual(pieces);
  const texts = merged.map(({ text }) => text);
  const whole = encode(texts.join(""));
  const parts = tokensByBytes(texts, whole, tokenizer) ?? tokensByPrefix(texts, whole, encode);
  const ids = parts.flat();
  const isTarget = parts.flatMap((part, k) => part.map(() => merged[k]?.isTarget === true));
  const bos = missingBos(ids, tokenizer);
  return bos === undefined ? { ids, isTarget } : { ids: [bos, ...ids], isTarget: [false, ...isTarget] };
}

function mergeEqual(pieces: readonly Piece[]): readonly Piece[] {
  const merged: Piece[] = [];
  for (const { text, isTarget } of pieces) {
    if (text === "") continue;
    const last = merged.at(-1);
    if (last?.isTarget === isTarget) merged[merged.length - 1] = { text: last.text + text, isTarget };
    else merged.push({ text, isTarget });
  }
  return merged;
}

type Encode = (text: string) => readonly number[];
type Parts = readonly (readonly number[])[];

/** The tokens of each part, by the bytes that they stand for; undefined where a token straddles two parts. */
function tokensByBytes(
  texts: readonly string[],
  whole: readonly number[],
  tokenizer: Tokenizer,
): Parts | undefined {
  const parts: number[][] = [];
  let next = 0;
  for (const text of texts) {
    const bytes = new TextEncoder().encode(text);
    const part: number[] = [];
    for (let done = 0; done < bytes.length; next++) {
      const id = whole[next];
      if (id === undefined) return undefined;
      const token = tokenizer.idToBytes(id);
      // a tokenizer may also change the text, as SentencePiece does with blanks
      if (!token.every((byte, i) => byte === bytes[done + i])) return undefined;
      done += token.length;
      part.push(id);
    }
    parts.push(part);
  }
  return next === whole.length ? parts : undefined;
}

/** The tokens of each part: those that the prefix up to its end has beyond the prefix up to its start. */
function tokensByPrefix(texts: readonly string[], whole: readonly number[], encode: Encode): Parts {
  const parts: (readonly number[])[] = [];
  let start = 0; // first of the parts that are tokenised as one text
  let rest = whole;
  let used = 0; // tokens of that text that are assigned to a part
  for (let k = 0; k < texts.length; k++) {
    const prefix = k === texts.length - 1 ? rest : encode(texts.slice(start, k + 1).join(""));
    parts.push(prefix.slice(used));
    used = prefix.length;
    if (startsWith(rest, prefix)) continue;
    start = k + 1;
    rest = encode(texts.slice(start).join(""));
    used = 0;
  }
  return parts;
}

const startsWith = (ids: readonly number[], prefix: readonly number[]): boolean =>
  prefix.length <= ids.length && prefix.every((id, i) => id === ids[i]);

/** The BOS token to put before `ids`; undefined where the tokenizer adds none or they begin with it already. */
export function missingBos(ids: readonly number[], tokenizer: Tokenizer): number | undefined {
  const { bosToken } = tokenizer;
  if (bosToken === undefined || ids[0] === bosToken) return undefined;
  return tokenizer.encode("", { addSpecialTokens: true })[0] === bosToken ? bosToken : undefined;
}
