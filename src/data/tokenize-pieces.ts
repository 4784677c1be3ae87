// A text cut into pieces that count in the loss and pieces that do not. The ids are those of the whole text wherever
// it has a token boundary between two pieces; where a token would straddle the cut, the text is tokenised anew from
// there, because in generation the prompt is tokenised alone as well.
import type { Tokenizer } from "#text";

export interface Piece {
  readonly text: string;
  readonly trained: boolean;
}

/** Token ids, and for each whether it counts. */
export interface Labelled {
  readonly ids: readonly number[];
  readonly trained: readonly boolean[];
}

/** Encodes pieces as one text. A BOS comes first if the tokenizer adds one and the text does not begin with it. */
export function tokenizePieces(pieces: readonly Piece[], tokenizer: Tokenizer): Labelled {
  const encode = (text: string): readonly number[] => tokenizer.encode(text, { addSpecialTokens: false });
  const merged = mergeEqual(pieces);
  const texts = merged.map(({ text }) => text);
  const whole = encode(texts.join(""));
  const parts = tokensByBytes(texts, whole, tokenizer) ?? tokensByPrefix(texts, whole, encode);
  const ids = parts.flat();
  const trained = parts.flatMap((part, k) => part.map(() => merged[k]?.trained === true));
  const bos = missingBos(ids, tokenizer);
  return bos === undefined ? { ids, trained } : { ids: [bos, ...ids], trained: [false, ...trained] };
}

function mergeEqual(pieces: readonly Piece[]): readonly Piece[] {
  const merged: Piece[] = [];
  for (const { text, trained } of pieces) {
    if (text === "") continue;
    const last = merged.at(-1);
    if (last?.trained === trained) merged[merged.length - 1] = { text: last.text + text, trained };
    else merged.push({ text, trained });
  }
  return merged;
}

type Encode = (text: string) => readonly number[];
type Parts = readonly (readonly number[])[];

/** The tokens of a text, dealt out to its parts by the bytes they stand for; none if one straddles a cut. */
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
      const token = tokenizer.bytesOf(id);
      // also where a tokenizer changes the text, as SentencePiece does with blanks
      if (!token.every((byte, i) => byte === bytes[done + i])) return undefined;
      done += token.length;
      part.push(id);
    }
    parts.push(part);
  }
  return next === whole.length ? parts : undefined;
}

/** Each part's tokens are what its prefix of the text has more than the prefix before. */
function tokensByPrefix(texts: readonly string[], whole: readonly number[], encode: Encode): Parts {
  const parts: (readonly number[])[] = [];
  let start = 0; // first part of the stretch that is tokenised as one text
  let rest = whole;
  let used = 0; // tokens of the stretch that are given out
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

/** The BOS token that has to come before ids: only if the tokenizer begins texts with one, and these do not already. */
export function missingBos(ids: readonly number[], tokenizer: Tokenizer): number | undefined {
  const { bosToken } = tokenizer;
  if (bosToken === undefined || ids[0] === bosToken) return undefined;
  return tokenizer.encode("", { addSpecialTokens: true })[0] === bosToken ? bosToken : undefined;
}
