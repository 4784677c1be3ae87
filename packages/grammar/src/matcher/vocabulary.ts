import { GrammarError, specialTokenBytes } from "#grammar";
import { findPlainTokens, type PlainTokens } from "./plain-tokens.ts";
import { sortTokens, type TokenBytes } from "./token-order.ts";
import { layOut, type Trie } from "./trie.ts";

/** What a vocabulary is built from. */
export interface VocabularySource {
  /** Number of token ids, which is that of the logits. */
  readonly size: number;
  /** Bytes that a token adds to the text; a token without bytes is never allowed. */
  bytesOf(id: number): Uint8Array;
  /** Name of a special token, by which grammars refer to it; undefined for tokens of text. */
  specialName(id: number): string | undefined;
  /** Tokens that end an answer. */
  readonly endTokens: readonly number[];
}

/** The byte that only special tokens contain. */
const SPECIAL = 0xff;

/** Milliseconds after which building lets other work run. */
const SLICE = 5;

/** Steps of the loops over tokens between two looks at the clock. */
const BATCH = 1024;

/** What building a vocabulary makes. */
interface VocabularyParts {
  readonly tokens: TokenBytes;
  readonly trie: Trie;
  readonly nextToken: Int32Array;
  readonly plain: PlainTokens;
}

/** The tokens of a model, arranged for matching. One serves all grammars of the model. */
export class Vocabulary {
  readonly size: number;
  readonly endTokens: readonly number[];
  /** @internal */
  readonly trie: Trie;
  /** @internal Another token with the same bytes as a token, or −1. */
  readonly nextToken: Int32Array;
  /** @internal */
  readonly plain: PlainTokens;
  readonly #tokens: TokenBytes;

  private constructor({ size, endTokens }: VocabularySource, parts: VocabularyParts) {
    this.size = size;
    this.endTokens = [...new Set(endTokens)];
    this.trie = parts.trie;
    this.nextToken = parts.nextToken;
    this.plain = parts.plain;
    this.#tokens = parts.tokens;
  }

  /**
   * Builds a vocabulary, in slices of a few milliseconds between which other work of the thread runs.
   * @throws GrammarError `bad_grammar` if the size or an end token is out of range
   */
  static async build(source: VocabularySource): Promise<Vocabulary> {
    const work = steps(source);
    let start = performance.now();
    for (;;) {
      const { done, value } = work.next();
      if (done) return new Vocabulary(source, value);
      if (performance.now() - start > SLICE) {
        await new Promise<void>((resolve) => setTimeout(resolve, 0));
        start = performance.now();
      }
    }
  }

  /** Builds a vocabulary at once, which takes up to a second for the largest ones. */
  static buildSync(source: VocabularySource): Vocabulary {
    const work = steps(source);
    for (;;) {
      const { done, value } = work.next();
      if (done) return new Vocabulary(source, value);
    }
  }

  /** Memory that the vocabulary takes. */
  get bytes(): number {
    const tries = [this.trie, this.plain.rest].flatMap((trie) => [
      trie.nodeByte,
      trie.nodeEnd,
      trie.nodeToken,
    ]);
    const plain = this.plain.upTo.map(({ words }) => words);
    const arrays = [...tries, ...plain, this.nextToken, this.#tokens.bytes, this.#tokens.offsets];
    return arrays.reduce((sum, array) => sum + array.byteLength, 0);
  }

  /** Bytes of a token as grammars see them: those of its text, or of a special token's name. Empty where it is never allowed. */
  bytesOf(id: number): Uint8Array {
    const { bytes, offsets } = this.#tokens;
    return bytes.subarray(offsets[id] ?? 0, offsets[id + 1] ?? 0);
  }
}

function* steps(source: VocabularySource): Generator<undefined, VocabularyParts> {
  check(source);
  const tokens = yield* readTokens(source);
  const order = Int32Array.from({ length: source.size }, (_, id) => id).filter(
    (id) => (tokens.offsets[id + 1] ?? 0) > (tokens.offsets[id] ?? 0),
  );
  yield* sortTokens(order, tokens);
  const nextToken = new Int32Array(source.size).fill(-1);
  const trie = yield* layOut(order, tokens, nextToken);
  // tokens with the same bytes are all plain or all not, so that they are linked alike
  const plain = yield* findPlainTokens(order, tokens, nextToken);
  return { tokens, trie, nextToken, plain };
}

function check({ size, endTokens }: VocabularySource): void {
  if (!Number.isInteger(size) || size < 1)
    throw new GrammarError("bad_grammar", `A vocabulary needs at least one token, not ${size}.`);
  for (const id of endTokens)
    if (!Number.isInteger(id) || id < 0 || id >= size)
      throw new GrammarError("bad_grammar", `End token ${id} is not a token id from 0 to ${size - 1}.`);
}

/** The bytes of all tokens. A token of text that contains the byte of special tokens gets none: no valid text has it. */
function* readTokens(source: VocabularySource): Generator<undefined, TokenBytes> {
  const { size } = source;
  const offsets = new Int32Array(size + 1);
  let bytes = new Uint8Array(8 * size);
  let length = 0;
  for (let id = 0; id < size; id++) {
    if (id % BATCH === 0) yield;
    const name = source.specialName(id);
    const text = name === undefined ? source.bytesOf(id) : specialTokenBytes(name);
    if (name !== undefined || !text.includes(SPECIAL)) {
      if (length + text.length > bytes.length) {
        const grown = new Uint8Array(2 * bytes.length + text.length);
        grown.set(bytes);
        bytes = grown;
      }
      bytes.set(text, length);
      length += text.length;
    }
    offsets[id + 1] = length;
  }
  return { bytes: bytes.slice(0, length), offsets };
}
