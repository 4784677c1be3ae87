import { describe, expect, it } from "vitest";
import { specialTokenBytes } from "#grammar";
import { Vocabulary, type VocabularySource } from "./vocabulary.ts";

const encoder = new TextEncoder();

const sourceOf = (texts: readonly string[], endTokens: readonly number[] = []): VocabularySource => ({
  size: texts.length,
  bytesOf: (id) => encoder.encode(texts[id]),
  specialName: () => undefined,
  endTokens,
});

/** Bytes and tokens of each node, from the root on. */
function nodesOf({ trie, nextToken }: Vocabulary): Map<string, number[]> {
  const { nodeByte, nodeEnd, nodeToken } = trie;
  const nodes = new Map<string, number[]>();
  const visit = (node: number, path: readonly number[]): void => {
    const tokens: number[] = [];
    for (let token = nodeToken[node] ?? -1; token >= 0; token = nextToken[token] ?? -1) tokens.push(token);
    nodes.set(Buffer.from(path).toString("latin1"), tokens.sort());
    for (let child = node + 1; child < (nodeEnd[node] ?? 0); child = nodeEnd[child] ?? 0)
      visit(child, [...path, nodeByte[child] ?? 0]);
  };
  visit(0, []);
  return nodes;
}

describe("vocabulary", () => {
  it("is a trie of the tokens' bytes, depth first", () => {
    const vocabulary = Vocabulary.buildSync(sourceOf(["b", "ab", "a", "", "abc", "b", "é"]));
    expect(nodesOf(vocabulary)).toEqual(
      new Map([
        ["", []],
        ["a", [2]],
        ["ab", [1]],
        ["abc", [4]],
        ["b", [0, 5]],
        ["\xc3", []],
        ["\xc3\xa9", [6]],
      ]),
    );
    expect([...vocabulary.trie.nodeEnd]).toEqual([7, 4, 4, 4, 5, 7, 7]);
    expect(vocabulary.bytesOf(1)).toEqual(encoder.encode("ab"));
    expect(vocabulary.bytesOf(3)).toHaveLength(0);
  });

  it("spells special tokens in a way that no text does", () => {
    const vocabulary = Vocabulary.buildSync({
      size: 3,
      bytesOf: (id) =>
        [encoder.encode("<s>"), encoder.encode("<s>"), Uint8Array.of(0x41, 0xff)][id] ?? new Uint8Array(),
      specialName: (id) => (id === 1 ? "<s>" : undefined),
      endTokens: [1, 1],
    });
    expect(vocabulary.bytesOf(0)).toEqual(encoder.encode("<s>"));
    expect(vocabulary.bytesOf(1)).toEqual(specialTokenBytes("<s>"));
    // a byte that no text has, in a token of text
    expect(vocabulary.bytesOf(2)).toHaveLength(0);
    expect(vocabulary.endTokens).toEqual([1]);
  });

  it("is the same whether it is built at once or in slices", async () => {
    // more than fit in one bucket of the sort, with shared beginnings and repeated texts
    const texts = Array.from({ length: 1500 }, (_, id) =>
      ((id * 7919) % 1201).toString(3).repeat(1 + (id % 3)),
    );
    const [whole, sliced] = [Vocabulary.buildSync(sourceOf(texts)), await Vocabulary.build(sourceOf(texts))];
    expect(sliced).toEqual(whole);
    const nodes = nodesOf(whole);
    for (const [id, text] of texts.entries()) expect(nodes.get(text)).toContain(id);
    expect([...nodes.values()].flat()).toHaveLength(texts.length);
    const paths = [...nodes.keys()];
    expect(paths).toEqual([...paths].sort());
  });

  it("refuses end tokens that do not exist", () => {
    expect(() => Vocabulary.buildSync(sourceOf(["a"], [1]))).toThrow(
      "End token 1 is not a token id from 0 to 0.",
    );
    expect(() => Vocabulary.buildSync(sourceOf([]))).toThrow("at least one token");
  });
});
