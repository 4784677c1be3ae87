import { GrammarError, specialTokenBytes } from "#grammar";
import { sortTokens, type TokenBytes } from "./token-order.ts";

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

/**
 * The tokens of a model as a trie of bytes in flat arrays. Nodes are numbered depth first, children by byte, so that the nodes below a node
 * are those from the next number up to `nodeEnd`. Node 0 is the root. Tokens with the same bytes share a node.
 */
export class Vocabulary {
  readonly size: number;
  readonly endTokens: readonly number[];
  /** Last byte on the way to each node. */
  readonly nodeByte: Uint8Array;
  /** Number after the last node below each node. */
  readonly nodeEnd: Int32Array;
  /** First token of each node, or −1. */
  readonly nodeToken: Int32Array;
  /** Another token with the same bytes as a token, or −1. */
  readonly nextToken: Int32Array;
  readonly #tokens: TokenBytes;

  private constructor(size: number, endTokens: readonly number[], trie: Trie) {
    this.size = size;
    this.endTokens = endTokens;
    this.nodeByte = trie.nodeByte;
    this.nodeEnd = trie.nodeEnd;
    this.nodeToken = trie.nodeToken;
    this.nextToken = trie.nextToken;
    this.#tokens = trie.tokens;
  }

  /**
   * Builds the trie, in slices of a few milliseconds between which other work of the thread runs.
   * @throws GrammarError `bad_grammar` if the size or an end token is out of range
   */
  static async build(source: VocabularySource): Promise<Vocabulary> {
    const work = steps(source);
    let start = performance.now();
    for (;;) {
      const { done, value } = work.next();
      if (done) return Vocabulary.#of(source, value);
      if (performance.now() - start > SLICE) {
        await new Promise<void>((resolve) => setTimeout(resolve, 0));
        start = performance.now();
      }
    }
  }

  /** Builds the trie at once, which takes up to a second for the largest vocabularies. */
  static buildSync(source: VocabularySource): Vocabulary {
    const work = steps(source);
    for (;;) {
      const { done, value } = work.next();
      if (done) return Vocabulary.#of(source, value);
    }
  }

  static #of(source: VocabularySource, trie: Trie): Vocabulary {
    return new Vocabulary(source.size, [...new Set(source.endTokens)], trie);
  }

  /** Memory of the trie and the tokens' bytes. */
  get bytes(): number {
    const { bytes, offsets } = this.#tokens;
    const arrays = [this.nodeByte, this.nodeEnd, this.nodeToken, this.nextToken, bytes, offsets];
    return arrays.reduce((sum, array) => sum + array.byteLength, 0);
  }

  /** Bytes of a token as grammars see them: those of its text, or of a special token's name. Empty where it is never allowed. */
  bytesOf(id: number): Uint8Array {
    const { bytes, offsets } = this.#tokens;
    return bytes.subarray(offsets[id] ?? 0, offsets[id + 1] ?? 0);
  }
}

interface Trie {
  readonly tokens: TokenBytes;
  readonly nodeByte: Uint8Array;
  readonly nodeEnd: Int32Array;
  readonly nodeToken: Int32Array;
  readonly nextToken: Int32Array;
}

function* steps(source: VocabularySource): Generator<undefined, Trie> {
  check(source);
  const tokens = yield* readTokens(source);
  const order = Int32Array.from({ length: source.size }, (_, id) => id).filter(
    (id) => (tokens.offsets[id + 1] ?? 0) > (tokens.offsets[id] ?? 0),
  );
  yield* sortTokens(order, tokens);
  return yield* layOut(order, tokens);
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

/** Nodes of sorted tokens: each token adds those beyond the bytes that it shares with the token before it. */
function* layOut(order: Int32Array, tokens: TokenBytes): Generator<undefined, Trie> {
  const { bytes, offsets } = tokens;
  const capacity = bytes.length + 1;
  const nodeByte = new Uint8Array(capacity);
  const nodeEnd = new Int32Array(capacity);
  const nodeToken = new Int32Array(capacity).fill(-1);
  const nextToken = new Int32Array(offsets.length - 1).fill(-1);
  const path: number[] = [0];
  let nodes = 1;
  let before = 0;
  const close = (depth: number): void => {
    while (path.length > depth) nodeEnd[path.pop() ?? 0] = nodes;
  };
  for (let index = 0; index < order.length; index++) {
    if (index % BATCH === 0) yield;
    const token = order[index] ?? 0;
    const start = offsets[token] ?? 0;
    const length = (offsets[token + 1] ?? 0) - start;
    let shared = 0;
    while (shared < length && shared < path.length - 1 && bytes[start + shared] === bytes[before + shared])
      shared++;
    close(shared + 1);
    for (let depth = shared; depth < length; depth++) {
      nodeByte[nodes] = bytes[start + depth] ?? 0;
      path.push(nodes++);
    }
    const node = path[length] ?? 0;
    nextToken[token] = nodeToken[node] ?? -1;
    nodeToken[node] = token;
    before = start;
  }
  close(0);
  return {
    tokens,
    nodeByte: nodeByte.slice(0, nodes),
    nodeEnd: nodeEnd.slice(0, nodes),
    nodeToken: nodeToken.slice(0, nodes),
    nextToken,
  };
}
