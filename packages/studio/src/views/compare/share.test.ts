import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Answer, NO_ANSWER } from "./answer.ts";
import { NO_SETTINGS } from "./settings.ts";
import { type Comparison, readComparison, writeComparison } from "./share.ts";

const NOW = new Date(0);
const word = fc.string({ unit: "binary", maxLength: 20 });
const number = fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0);
const maybe = <T>(one: fc.Arbitrary<T>) => fc.option(one, { nil: undefined });

const answer: fc.Arbitrary<Answer> = fc.record({
  status: fc.constantFrom("done", "stopped", "failed"),
  text: word,
  reasoning: word,
  calls: fc.array(
    fc.record({ id: word, kind: fc.constantFrom("function", "custom"), name: word, text: word }),
    { maxLength: 2 },
  ),
  tokens: fc.array(
    fc.record({
      text: word,
      bytes: maybe(fc.array(fc.nat({ max: 255 }), { maxLength: 4 })),
      logprob: fc.option(number),
      top: fc.array(fc.record({ text: word, logprob: number }), { maxLength: 2 }),
    }),
    { maxLength: 3 },
  ),
  finish: fc.option(word),
  count: fc.nat(),
  sentAt: number,
  firstAt: fc.option(number),
  lastAt: fc.option(number),
  problem: fc.option(fc.record({ message: word, code: maybe(word) })),
});

const comparison: fc.Arbitrary<Comparison> = fc.record({
  models: fc.uniqueArray(fc.oneof(word, fc.constant("__proto__")), { maxLength: 5 }),
  settings: fc.record({
    mode: fc.constantFrom("chat", "text"),
    system: word,
    temperature: maybe(number),
    topP: maybe(number),
    maxTokens: maybe(fc.nat()),
    seed: maybe(fc.nat()),
    tools: word,
    schema: word,
    logprobs: fc.boolean(),
  }),
  turns: fc.array(
    fc.record({
      user: word,
      seed: fc.nat(),
      answers: fc.array(fc.record({ model: fc.oneof(word, fc.constant("__proto__")), answer }), {
        maxLength: 3,
      }),
    }),
    { maxLength: 3 },
  ),
});

const EMPTY: Comparison = { models: ["base"], settings: NO_SETTINGS, turns: [] };
const changed = (change: object): string =>
  JSON.stringify({ ...JSON.parse(writeComparison(EMPTY, NOW)), ...change });

describe("a saved comparison", () => {
  test("is read as it was written", () => {
    fc.assert(
      fc.property(comparison, (one) => {
        expect(readComparison(writeComparison(one, NOW))).toEqual(one);
      }),
    );
  });

  test("has answers that still come as stopped ones", () => {
    const streaming: Answer = { ...NO_ANSWER, status: "streaming", text: "Hel" };
    const turns = [{ user: "Hi", seed: 1, answers: [{ model: "base", answer: streaming }] }];
    const read = readComparison(writeComparison({ ...EMPTY, turns }, NOW));
    expect(read.turns[0]?.answers[0]?.answer).toMatchObject({ status: "stopped", text: "Hel" });
  });

  test.each([
    ["<html>", "it is not JSON"],
    ["[]", 'it lacks "format": "mos-comparison"'],
    [changed({ version: 2 }), "has version 2; this page reads version 1"],
    [
      changed({ turns: [{ user: 3 }] }),
      "the comparison.turns[0].user is a value of type number; it has to be text",
    ],
    [changed({ settings: null }), "the comparison.settings is null; it has to be an object"],
    [changed({ models: "base" }), "the comparison.models is a value of type string; it has to be a list"],
    [changed({ models: [..."abcdefgh"] }), "has 8 models; this page shows at most 5"],
  ])("is refused where it is none: %s", (file, message) => {
    expect(() => readComparison(file)).toThrow(message);
  });

  test("is never read as something else", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(() => readComparison(changed({ turns: [value] }))).toThrow("the comparison.turns[0]");
      }),
    );
  });
});
