import fc from "fast-check";
import { loadTextFromFolder } from "mixture-of-shards-core/text";
import { expect, test } from "vitest";
import { startCpuTimer } from "../../../test/cpu-time.ts";
import { createPromptReader, makeRequests } from "./engine-requests.ts";

const choiceSeeds = (seed: number, n: number): number[] =>
  makeRequests({ ids: [1] }, { model: "base", n }, { maxTokens: 1, adapter: null, seed, tenant: "t" }).map(
    ({ seed: own = -1 }) => own,
  );

test("every whole number is a seed, and the choices of a request have different ones", () => {
  expect(choiceSeeds(5, 3)[0]).toBe(5);
  expect(choiceSeeds(-1, 1)).toEqual([Number.MAX_SAFE_INTEGER]);
  // requests with seeds in a row share no stream
  const seeds = Array.from({ length: 200 }, (_, seed) => choiceSeeds(seed - 100, 16)).flat();
  expect(new Set(seeds).size).toBe(200 * 16);
  fc.assert(
    fc.property(fc.maxSafeInteger(), fc.integer({ min: 1, max: 128 }), (seed, n) => {
      const seeds = choiceSeeds(seed, n);
      expect(new Set(seeds).size).toBe(n);
      expect(seeds.every((one) => Number.isSafeInteger(one) && one >= 0)).toBe(true);
    }),
  );
});

test("an answer that never ends cannot have a form, and the field says so", () => {
  const own = { maxTokens: 1, adapter: null, seed: 0, tenant: "t" };
  const make = (more: object) =>
    makeRequests({ ids: [1] }, { model: "base", ignore_eos: true }, { ...own, ...more });
  expect(make({})).toHaveLength(1);
  expect(() => make({ grammar: { type: "json_object" } })).toThrow(
    expect.objectContaining({ details: expect.objectContaining({ status: 400, param: "ignore_eos" }) }),
  );
});

const text = await loadTextFromFolder("assets/tiny-english");
const reader = (maxLength: number) =>
  createPromptReader(text, { vocabularySize: text.tokenizer.vocabularySize, maxLength });

test("a text that fits exactly is taken, and with one token more refused", async () => {
  const words = "The opposite of up is down. ".repeat(40);
  const { length } = text.tokenizer.encode(words);
  expect((await reader(length).fromText(words, "prompt")).ids).toHaveLength(length);
  await expect(reader(length - 1).fromText(words, "prompt")).rejects.toThrowError(/maximum context length/);
  await expect(reader(10).fromText("", "prompt")).rejects.toThrowError(/prompt is empty/);
});

test("a long text of few tokens is taken: counting in parts refuses only what cannot fit", async () => {
  const longest = Math.max(
    ...Array.from({ length: text.tokenizer.vocabularySize }, (_, id) => text.tokenizer.idToBytes(id).length),
  );
  const id = Array.from({ length: text.tokenizer.vocabularySize }, (_, i) => i).find(
    (i) => text.tokenizer.idToBytes(i).length === longest && !text.tokenizer.isSpecial(i),
  );
  const word = Buffer.from(text.tokenizer.idToBytes(id ?? 0)).toString();
  const repeated = word.repeat(600);
  const { length } = text.tokenizer.encode(repeated);
  expect((await reader(length).fromText(repeated, "prompt")).ids).toHaveLength(length);
});

test.each(["x", " ", "7", "-"])(
  "thousands of %j in a row are refused before the tokenizer sees them",
  async (letter) => {
    const spent = startCpuTimer();
    const read = reader(100_000).fromText(letter.repeat(300_000), "prompt");
    await expect(read).rejects.toThrowError(/in a row|maximum/);
    expect(spent()).toBeLessThan(2000);
  },
);

test("other requests have their turn while a long text is counted", async () => {
  const slow = Object.create(text.tokenizer, {
    encode: {
      value: (part: string) => {
        for (const until = performance.now() + 11; performance.now() < until; );
        return text.tokenizer.encode(part, { addSpecialTokens: false });
      },
    },
  });
  const { fromText } = createPromptReader({ tokenizer: slow }, { vocabularySize: 1000, maxLength: 5000 });
  let turns = 0;
  let isOver = false;
  const turn = (): void => {
    turns++;
    if (!isOver) setImmediate(turn);
  };
  setImmediate(turn);
  await expect(fromText("a. ".repeat(20_000), "prompt")).rejects.toThrowError(/maximum context length/);
  isOver = true;
  expect(turns).toBeGreaterThan(5);
});

test("a vocabulary of a million tokens is read", () => {
  const { tokenizer } = text;
  const large = Object.create(tokenizer, {
    vocabularySize: { value: 1_000_000 },
    idToBytes: { value: () => Uint8Array.of(65) },
  });
  const { fromIds } = createPromptReader({ tokenizer: large }, { vocabularySize: 1_000_000, maxLength: 8 });
  expect(fromIds([999_999], "prompt").ids).toEqual([999_999]);
});
