import fc from "fast-check";
import { expect, test } from "vitest";
import { showToken, toBlocks, toBoxes } from "./preview-step.tsx";

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
  // what would turn the text around, or hide in it
  expect(showToken("\u202egnp.exe\u202c \u200b\ufeff\0")).toBe(
    "⟨U+202E⟩gnp.exe⟨U+202C⟩ ⟨U+200B⟩⟨U+FEFF⟩⟨U+0000⟩",
  );
  const family = "👩\u200d👧 می\u200cخواهم";
  expect(showToken(family)).toBe(family);
});

test("tokens with the bytes of one character are one box", () => {
  const part = (id: number, text: string, trained = false) => ({ id, text, trained });
  expect(toBoxes([part(1, ""), part(2, ""), part(3, "😀"), part(4, "a", true), part(5, "", true)])).toEqual([
    { ids: [1, 2, 3], text: "😀", trained: false },
    { ids: [4], text: "a", trained: true },
    { ids: [5], text: "", trained: true },
  ]);
});
