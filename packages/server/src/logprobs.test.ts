import fc from "fast-check";
import { expect, test } from "vitest";
import { runs } from "../../../test/runs.ts";
import { jsonList, jsonObject } from "./answer.ts";
import { LogprobBuffer, textOffsets } from "./logprobs.ts";

const canBegin = (bytes: readonly number[]): boolean => {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(bytes), { stream: true });
    return true;
  } catch {
    return false;
  }
};
const isWhole = (bytes: readonly number[]): boolean => {
  try {
    return (
      [...new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(bytes))]
        .length === 1
    );
  } catch {
    return false;
  }
};

/** The number of the character that each byte is part of; a broken character is one, too. */
function characterIndices(bytes: readonly number[]): readonly number[] {
  const numbers: number[] = [];
  for (let character = 0; numbers.length < bytes.length; character++) {
    const rest = bytes.slice(numbers.length, numbers.length + 4);
    const whole = [1, 2, 3, 4].find((count) => isWhole(rest.slice(0, count)));
    const broken = [4, 3, 2, 1].find((count) => canBegin(rest.slice(0, count)) && count <= rest.length) ?? 1;
    numbers.push(...Array<number>(whole ?? broken).fill(character));
  }
  return numbers;
}

test("a token's offset is that of the character that its first byte belongs to", () => {
  const token = fc.oneof(
    fc.uint8Array({ minLength: 1, maxLength: 4 }),
    fc
      .constantFrom([0xe0], [0x80], [0xf0, 0x9f], [0xa6, 0xa4], [0xc3], [0xa9], [0x61], [0x61, 0xc3])
      .map((list) => Uint8Array.from(list)),
  );
  fc.assert(
    fc.property(fc.array(token, { maxLength: 12 }), fc.nat(9), (tokens, start) => {
      const tokenizer = { idToBytes: (id: number) => tokens[id]!, isSpecial: () => false, strippedBlanks: 1 };
      const nextOffset = textOffsets(tokenizer, { start, continues: true });
      const offsets = tokens.map((_, id) => nextOffset(id));
      const numbers = characterIndices(tokens.flatMap((bytes) => [...bytes]));
      let first = 0;
      const expected = tokens.map((bytes) => {
        const number = numbers[first]!;
        first += bytes.length;
        return start + number;
      });
      expect(offsets).toEqual(expected);
    }),
    { numRuns: runs(1000) },
  );
});

test("what is held is what was put in, as 32-bit numbers", () => {
  const id = fc.nat(2 ** 31 - 1);
  const entry = fc.record({
    id,
    logprob: fc.option(fc.float({ max: 0, noNaN: true })),
    top: fc.array(fc.record({ id, logprob: fc.float({ max: 0, noNaN: true }) }), { maxLength: 20 }),
  });
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 20 }), (entries) => {
      const held = new LogprobBuffer();
      for (const one of entries) held.push(one);
      expect([...held]).toEqual(entries);
      expect([...held.map(({ top }) => top.length)]).toEqual(entries.map(({ top }) => top.length));
    }),
  );
});

test("the pieces of JSON make the text that it has as a whole", () => {
  fc.assert(
    fc.property(fc.array(fc.jsonValue()), fc.dictionary(fc.string(), fc.jsonValue()), (items, members) => {
      const inner = jsonObject({ a: 1, list: jsonList(() => items), ...members });
      const text = [...jsonObject({ inner, empty: jsonList(() => []), none: jsonObject({}) })()].join("");
      const whole = { inner: { a: 1, list: items, ...members }, empty: [], none: {} };
      expect(text).toBe(JSON.stringify(whole));
    }),
  );
});
