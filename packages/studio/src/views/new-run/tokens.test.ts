import fc from "fast-check";
import { expect, test } from "vitest";
import { showToken, toBlocks } from "./tokens.ts";

const tokens = (count: number) =>
  Array.from({ length: count }, (_, id) => ({ id, text: `${id}`, trained: false }));

test("messages and what is between them", () => {
  const blocks = toBlocks(tokens(6), [
    { role: "user", start: 1, end: 3 },
    { role: "assistant", start: 4, end: 9 },
  ]);
  expect(blocks.map(({ role, tokens: own }) => [role, own.map(({ id }) => id)])).toEqual([
    [undefined, [0]],
    ["user", [1, 2]],
    [undefined, [3]],
    ["assistant", [4, 5]],
  ]);
});

test("each token is in one block, in its place", () => {
  const message = fc.record({ role: fc.constant("user"), start: fc.nat(12), end: fc.nat(14) });
  fc.assert(
    fc.property(fc.nat(10), fc.array(message, { maxLength: 4 }), (count, messages) => {
      const all = tokens(count);
      expect(toBlocks(all, messages).flatMap((block) => block.tokens)).toEqual(all);
    }),
  );
});

test("what cannot be seen has a mark", () => {
  expect(showToken("a\tb\n")).toBe("a⇥b↵\n");
});
