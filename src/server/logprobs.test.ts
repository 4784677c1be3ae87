import fc from "fast-check";
import { expect, test } from "vitest";
import { textOffsets } from "./logprobs.ts";

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
function charactersOf(bytes: readonly number[]): readonly number[] {
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
      const tokenizer = { bytesOf: (id: number) => tokens[id]!, isSpecial: () => false, strippedBlanks: 1 };
      const offsetOf = textOffsets(tokenizer, { start, continues: true });
      const offsets = tokens.map((_, id) => offsetOf(id));
      const numbers = charactersOf(tokens.flatMap((bytes) => [...bytes]));
      let first = 0;
      const expected = tokens.map((bytes) => {
        const number = numbers[first]!;
        first += bytes.length;
        return start + number;
      });
      expect(offsets).toEqual(expected);
    }),
    { numRuns: 1000 },
  );
});
