// Vocabularies for the benchmarks of grammars: that of a model, or one of a given size that is made of a text.

import { loadTextFromFolder } from "mixture-of-shards-core/text";
import { Vocabulary } from "mixture-of-shards-grammar";
import { readGgufText } from "../packages/core/test/tokenizer-lines.ts";

/** A vocabulary with what a benchmark needs of its tokenizer. */
export interface BenchVocabulary {
  readonly name: string;
  readonly vocabulary: Vocabulary;
  readonly buildSeconds: number;
  bytesOf(id: number): Uint8Array;
  encode(text: string): readonly number[];
}

/** Bytes of a token of a vocabulary that is made of a text, at most. */
const LONGEST = 12;

/** A vocabulary of all bytes and of the most frequent pieces of a text, encoded by the longest match. */
function madeOf(text: string, size: number): Omit<BenchVocabulary, "vocabulary" | "buildSeconds"> {
  const counts = new Map<string, number>();
  for (const [word] of text.matchAll(/[^A-Za-z0-9]?[a-zA-Z]+|[^A-Za-z0-9]{1,6}|\d{1,3}/g))
    for (let length = 2; length <= Math.min(word.length, LONGEST); length++) {
      const piece = word.slice(0, length);
      counts.set(piece, (counts.get(piece) ?? 0) + 1);
    }
  const pieces = [...counts].sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1)).map(([piece]) => piece);
  const tokens = [
    ...Array.from({ length: 256 }, (_, byte) => Buffer.of(byte)),
    ...pieces.slice(0, size - 257).map((piece) => Buffer.from(piece)),
  ];
  const ids = new Map(tokens.map((token, id) => [token.toString("latin1"), id]));
  const encode = (given: string): readonly number[] => {
    const bytes = Buffer.from(given).toString("latin1");
    const found: number[] = [];
    for (let at = 0; at < bytes.length; ) {
      let length = 4 * LONGEST;
      while (length > 1 && !ids.has(bytes.slice(at, at + length))) length--;
      found.push(ids.get(bytes.slice(at, at + length)) ?? 0);
      at += length;
    }
    return found;
  };
  return { name: `made of text, ${tokens.length + 1}`, bytesOf: (id) => tokens[id] ?? Buffer.of(), encode };
}

/** Reads the vocabulary of a model's folder or GGUF file, or makes one: "made:128256". */
export async function readVocabulary(path: string, text: string): Promise<BenchVocabulary> {
  const start = performance.now();
  const seconds = (): number => (performance.now() - start) / 1000;
  if (path.startsWith("made:")) {
    const size = Number(path.slice(5));
    const made = madeOf(text, size);
    const source = { size, bytesOf: made.bytesOf, specialName: () => undefined, endTokens: [size - 1] };
    const vocabulary = await Vocabulary.build(source);
    return { ...made, vocabulary, buildSeconds: seconds() };
  }
  const { tokenizer } = await (path.endsWith(".gguf") ? readGgufText(path) : loadTextFromFolder(path));
  const begin = performance.now();
  const vocabulary = await Vocabulary.build({
    size: tokenizer.vocabularySize,
    bytesOf: (id) => tokenizer.idToBytes(id),
    specialName: (id) => (tokenizer.isSpecial(id) ? tokenizer.idToToken(id) : undefined),
    endTokens: tokenizer.eosTokens,
  });
  return {
    name: `${path.split("/").at(-1)}, ${tokenizer.vocabularySize}`,
    vocabulary,
    buildSeconds: (performance.now() - begin) / 1000,
    bytesOf: (id) => tokenizer.idToBytes(id),
    encode: (given) => tokenizer.encode(given, { addSpecialTokens: false }),
  };
}
