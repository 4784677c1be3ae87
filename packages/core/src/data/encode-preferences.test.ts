import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { loadText } from "#models";
import {
  type EncodedExample,
  type EncodeOptions,
  encodeAnswers,
  encodeExample,
  encodeExamples,
  IGNORED,
} from "./encode.ts";
import type { AnsweredExample, ChatExample, Example, Message, PairExample } from "./example.ts";

const text = await loadText("assets/tiny-english");
const options: EncodeOptions = { ...text, maxLength: 512 };
const decode = (ids: Iterable<number>): string => text.tokenizer.decode([...ids]);

const turn = (role: Message["role"], content: string, isTarget = role === "assistant"): Message => ({
  role,
  content,
  isTarget,
});
const chat = (...turns: readonly Message[]): ChatExample => ({ kind: "chat", line: 3, turns });
const answered = (answer: string): ChatExample =>
  chat(turn("user", "How are you?"), turn("assistant", answer));
const pairOf = (chosen: AnsweredExample, rejected: AnsweredExample): PairExample => ({
  kind: "pair",
  line: 3,
  chosen,
  rejected,
});
const pair = pairOf(answered("I am well."), answered("No."));
const targetsOf = ({ labels }: { readonly labels: Int32Array }) =>
  decode(labels.filter((label) => label !== IGNORED));

/** A field of an example for each of its sequences, with what they share. */
function bySequence(example: EncodedExample, field: "ids" | "labels"): readonly number[][] {
  const { shared = 0, sequences = [] } = example;
  let end = shared;
  return sequences.map((length) => {
    end += length;
    return [...example[field].subarray(0, shared), ...example[field].subarray(end - length, end)];
  });
}

describe("hints", () => {
  const hinted: ChatExample = { ...answered("I am well."), hint: "Say how you feel." };
  const prompts = ({ ids, labels, hinted: other }: EncodedExample) =>
    [{ ids, labels }, other].map((one) => decode(one?.ids.filter((_, i) => one.labels[i] === IGNORED) ?? []));

  test("the hint stands in the teacher's prompt alone, after the last user message", () => {
    const encoded = encodeExample(hinted, options);
    const [own, taught] = prompts(encoded);
    expect(taught).toBe(own?.replace("How are you?", "How are you?\n\nSay how you feel."));
    expect(taught).not.toBe(own);
    expect([encoded, encoded.hinted ?? encoded].map(targetsOf)).toEqual(
      Array(2).fill("I am well.<|im_end|>"),
    );
  });

  test("an answer is cut off behind both prompts, or is left out", async () => {
    const whole = encodeExample(hinted, options);
    const longest = whole.hinted?.ids.length ?? 0;
    const cut = encodeExample(hinted, { ...options, maxLength: longest - 3 });
    expect(cut.hinted?.ids).toHaveLength(longest - 3); // its last token, a line feed, is no target
    expect([cut.targetTokens, cut.hinted?.targetTokens]).toEqual(Array(2).fill(whole.targetTokens - 2));
    const { report } = await encodeExamples([hinted, answered("No.")], {
      ...options,
      maxLength: longest - 7,
    });
    expect(report).toMatchObject({ examples: 1, dropped: 1 });
  });
});

describe("pairs", () => {
  test("both sequences are what each answer is alone, one behind the other, and share their prompt", () => {
    const apart = [pair.chosen, pair.rejected].map((one) => encodeExample(one, options));
    const [chosen, rejected] = apart;
    const both = encodeExample(pair, options);
    for (const field of ["ids", "labels"] as const)
      expect(bySequence(both, field)).toEqual(apart.map((one) => [...one[field]]));
    // the last token of the prompt predicts the first of each answer
    const prompt = chosen?.labels.findIndex((label) => label !== IGNORED) ?? 0;
    expect(both.shared).toBe(prompt - 1);
    expect(both.ids).toHaveLength(
      (both.shared ?? 0) + (both.sequences?.[0] ?? 0) + (both.sequences?.[1] ?? 0),
    );
    expect(targetsOf(both)).toBe("I am well.<|im_end|>No.<|im_end|>");
    expect(both).toMatchObject({ line: 3, truncated: false, truncatedTargets: 0 });
    expect(both.targetTokens).toBe((chosen?.targetTokens ?? 0) + (rejected?.targetTokens ?? 0));
  });

  test("law: an example has at most maxLength tokens, and the longer answer is truncated first", () => {
    const word = fc.integer({ min: 1, max: 30 }).map((count) => "la ".repeat(count));
    fc.assert(
      fc.property(word, word, fc.integer({ min: 8, max: 90 }), (one, other, maxLength) => {
        const example = pairOf(answered(one), answered(other));
        const whole = encodeExample(example, options);
        const cut = encodeExample(example, { ...options, maxLength });
        const [chosen = 0, rejected = 0] = cut.sequences ?? [];
        const length = (cut.shared ?? 0) + chosen + rejected;
        expect(cut.ids).toHaveLength(Math.min(whole.ids.length, length));
        expect(length).toBeLessThanOrEqual(maxLength);
        expect(cut.truncated).toBe(whole.ids.length > maxLength);
        const longest = Math.max(chosen, rejected);
        for (const [i, length] of (cut.sequences ?? []).entries())
          if (length < (whole.sequences?.[i] ?? 0)) expect(length).toBeGreaterThanOrEqual(longest - 1);
        if (cut.targetTokens > 0) expect(cut.targetTokens + cut.truncatedTargets).toBe(whole.targetTokens);
      }),
    );
  });

  test("a prompt that is short against its answers stands before each", () => {
    const long = pairOf(answered("la ".repeat(600)), answered("lo ".repeat(600)));
    const [chosen, rejected] = [long.chosen, long.rejected].map((one) =>
      encodeExample(one, { ...options, maxLength: 4096 }),
    );
    const both = encodeExample(long, { ...options, maxLength: 4096 });
    expect(both.shared).toBeUndefined();
    expect([...both.ids]).toEqual([...(chosen?.ids ?? []), ...(rejected?.ids ?? [])]);
    expect(both.sequences).toEqual([chosen?.ids.length, rejected?.ids.length]);
  });

  test("a pair that loses an answer is dropped, and the report says so", async () => {
    const long = pairOf(answered("I am well. ".repeat(20)), answered("No."));
    const prompt = encodeExample(answered("No."), options).ids.length;
    const all = await encodeExamples([pair, long], options);
    expect(all.report).toMatchObject({ examples: 2, dropped: 0, truncated: 0 });
    const some = await encodeExamples([pair, long], { ...options, maxLength: 2 * prompt + 8 });
    expect(some.report).toMatchObject({ examples: 2, dropped: 0, truncated: 1 });
    await expect(encodeExamples([pair, long], { ...options, maxLength: 8 })).rejects.toThrowError(
      /none of the 2 examples has target tokens left/,
    );
  });

  test("for ratings the answers are apart", async () => {
    const [chosen, rejected] = encodeAnswers(pair, { ...options, splitPairs: true });
    expect(targetsOf(chosen ?? expect.fail())).toBe("I am well.<|im_end|>");
    expect(chosen?.columns).toEqual({ desirable: new Float32Array(chosen?.targetTokens ?? 0).fill(1) });
    expect(rejected?.columns).toEqual({ desirable: new Float32Array(rejected?.targetTokens ?? 0) });
    expect(chosen?.sequences).toBeUndefined();
    const rated: Example = { kind: "rated", line: 3, answer: pair.rejected, isDesirable: false };
    expect(encodeAnswers(rated, { ...options, splitPairs: true })).toEqual([rejected]);
  });

  test("what a rated answer loses to truncation is kept, as far as it would fit behind another prompt", () => {
    const rated: Example = { kind: "rated", line: 3, answer: pair.rejected, isDesirable: false };
    const whole = encodeExample(rated, options);
    expect(whole.rest).toBeUndefined();
    const maxLength = whole.ids.length - 3;
    const { ids, labels, rest, targetTokens, columns } = encodeExample(rated, { ...options, maxLength });
    expect([...ids, ...(rest?.ids ?? [])]).toEqual([...whole.ids]);
    expect([...labels, ...(rest?.labels ?? [])]).toEqual([...whole.labels]);
    expect(columns?.desirable).toHaveLength(targetTokens);
    const short = Math.floor(whole.ids.length / 3);
    expect(encodeExample(rated, { ...options, maxLength: short }).rest?.ids).toHaveLength(short);
    expect(encodeExample(pair.rejected, { ...options, maxLength }).rest).toBeUndefined();
  });
});

test("a prompt ends where its answer begins, and is left out where it is too long", async () => {
  const prompt: Example = { kind: "prompt", line: 3, turns: [turn("user", "How are you?")], item: {} };
  const encoded = encodeExample(prompt, options);
  expect(decode(encoded.ids)).toMatch(/How are you\?<\|im_end\|>\n<\|im_start\|>assistant\n$/);
  expect(encoded).toMatchObject({ targetTokens: 0, truncated: false });
  expect((await encodeExamples([prompt], options)).report).toMatchObject({ examples: 1, dropped: 0 });
  const longer = { ...prompt, turns: [turn("user", "How are you? ".repeat(20))] };
  const some = await encodeExamples([prompt, longer], { ...options, maxLength: encoded.ids.length });
  expect(some.report).toMatchObject({ examples: 1, dropped: 1 });
  expect(() => encodeExample(prompt, { ...options, promptFormat: "chatml" })).toThrowError(
    /answers to prompts need the model's chat template/,
  );
});

describe("weights", () => {
  const talk = chat(
    turn("user", "How are you?"),
    { ...turn("assistant", "I am well."), weight: 0.25 },
    turn("user", "And the dog?"),
    turn("assistant", "It sleeps."),
  );

  test.each(["template", "chatml", "open-instruct"] as const)(
    "tokens of a message have its weight: %s",
    (promptFormat) => {
      const { columns, labels, targetTokens } = encodeExample(talk, { ...options, promptFormat });
      const targets = [...labels].filter((label) => label !== IGNORED);
      expect(columns?.weight).toHaveLength(targetTokens);
      const weighing = (weight: number) =>
        decode(targets.filter((_, i) => columns?.weight?.[i] === weight)).trim();
      expect(weighing(0.25)).toMatch(/^I am well\.<\|(im_end|endoftext)\|>$/);
      expect(weighing(1)).toMatch(/^It sleeps\.<\|(im_end|endoftext)\|>$/);
    },
  );

  test("targets are the same whatever their weights are, and all of 1 need none", () => {
    const even = chat(...talk.turns.map(({ weight: _, ...one }) => one));
    const encoded = encodeExample(even, options);
    expect(encoded.columns).toBeUndefined();
    expect({ ...encodeExample(talk, options), columns: undefined }).toEqual({
      ...encoded,
      columns: undefined,
    });
  });

  test("truncation cuts them, too", () => {
    const whole = encodeExample(talk, options);
    for (let maxLength = 2; maxLength <= whole.ids.length; maxLength++) {
      const { columns, targetTokens } = encodeExample(talk, { ...options, maxLength });
      expect(columns?.weight?.length ?? 0).toBe(columns === undefined ? 0 : targetTokens);
      if (columns !== undefined)
        expect(columns.weight).toEqual(whole.columns?.weight?.slice(0, targetTokens));
    }
  });

  test("only the last answer, where that is wanted", () => {
    const last = encodeExample(talk, { ...options, lastAnswerOnly: true });
    expect(targetsOf(last)).toBe("It sleeps.<|im_end|>");
    expect(last.columns).toBeUndefined();
    const open = chat(...talk.turns, turn("user", "And you?"));
    expect(targetsOf(encodeExample(open, { ...options, lastAnswerOnly: true }))).toMatch(/^It sleeps\./);
  });
});
