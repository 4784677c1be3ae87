import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { randomStream } from "#core";
import type { Tokenizer } from "#text";
import { type Decoder, type GenerateEvent, type GenerateOptions, generate } from "./generate.ts";

/** Ids are bytes, so that characters come in parts. */
const tokenizer: Tokenizer = {
  vocabularySize: 256,
  bosToken: undefined,
  eosTokens: [0],
  strippedBlanks: 0,
  encode: (text) => [...new TextEncoder().encode(text)],
  decode: (ids) => new TextDecoder().decode(Uint8Array.from(ids)),
  tokenOf: (id) => String.fromCharCode(id),
  idOf: (token) => token.charCodeAt(0),
  isSpecial: (id) => id === 0,
  bytesOf: (id) => Uint8Array.of(id),
};

/** A decoder whose rows say these bytes one after another, whatever they read; afterwards they say 0. */
function scripted(answers: readonly (string | Uint8Array)[]) {
  const scripts = answers.map((one) => (typeof one === "string" ? new TextEncoder().encode(one) : one));
  const calls: (readonly (readonly number[])[])[] = [];
  const lengths = answers.map(() => 0);
  const said = answers.map(() => 0);
  const decoder: Decoder = {
    lengths,
    append: async (tokens) => {
      calls.push(tokens.map((row) => [...row]));
      return tokens.map((row, i) => {
        lengths[i]! += row.length;
        if (row.length === 0) return new Float32Array(0);
        const logits = new Float32Array(256);
        logits[scripts[i]![said[i]!] ?? 0] = 1;
        said[i]!++;
        return logits;
      });
    },
    clear: () => lengths.fill(0),
    [Symbol.asyncDispose]: async () => undefined,
  };
  return { decoder, calls };
}

const prompt = tokenizer.encode("Say: ");

async function run(answers: readonly (string | Uint8Array)[], options: Partial<GenerateOptions> = {}) {
  const { decoder, calls } = scripted(answers);
  const events: GenerateEvent[] = [];
  const all = { tokenizer, maxTokens: 1000, endTokens: [0], random: () => randomStream(0, "x"), ...options };
  for await (const event of generate(
    decoder,
    answers.map(() => prompt),
    all,
  ))
    events.push(event);
  const ends = events.filter((event) => event.type === "end").sort((a, b) => a.row - b.row);
  return { events, calls, ends };
}

const textOf = (events: readonly GenerateEvent[], row: number): string =>
  events.map((event) => (event.type === "text" && event.row === row ? event.text : "")).join("");

describe("an answer ends", () => {
  test("at an end token, which is not part of it", async () => {
    const { ends, events, calls } = await run(["Hi!"]);
    expect(ends).toEqual([{ type: "end", row: 0, reason: "end", text: "Hi!", ids: tokenizer.encode("Hi!") }]);
    expect(textOf(events, 0)).toBe("Hi!");
    expect(calls.map(([row]) => row)).toEqual([prompt, ...tokenizer.encode("Hi!").map((id) => [id])]);
  });

  test("at any of several end tokens", async () => {
    const [end] = (await run(["One. Two."], { endTokens: [0, ".".charCodeAt(0)] })).ends;
    expect(end).toMatchObject({ reason: "end", text: "One" });
  });

  test("at its greatest length", async () => {
    const { ends, calls } = await run(["abcdef"], { maxTokens: 4 });
    expect(ends[0]).toMatchObject({ reason: "length", text: "abcd" });
    expect(calls).toHaveLength(4);
  });

  test("at a stop text, which is not part of it, and what follows is never asked for", async () => {
    const { ends, events, calls } = await run(["Hello.\nUser: more"], { stops: ["\nUser:"] });
    expect(ends[0]).toMatchObject({ reason: "stop", text: "Hello." });
    expect(textOf(events, 0)).toBe("Hello.");
    expect(calls).toHaveLength("Hello.\nUser:".length);
  });

  test("with the beginning of a stop text that does not go on as one", async () => {
    const { ends, events } = await run(["Hello.\nUs"], { stops: ["\nUser:"] });
    expect(ends[0]).toMatchObject({ reason: "end", text: "Hello.\nUs" });
    expect(textOf(events, 0)).toBe("Hello.\nUs");
  });

  test("in the middle of a character with U+FFFD, after which a stop text counts too", async () => {
    const half = new TextEncoder().encode("ok é").subarray(0, 4);
    expect((await run([half])).ends[0]).toMatchObject({ reason: "end", text: "ok \uFFFD" });
    expect((await run([half], { stops: ["\uFFFD"] })).ends[0]).toMatchObject({ reason: "stop", text: "ok " });
  });

  test("when the caller cancels, with the text so far", async () => {
    const controller = new AbortController();
    const { decoder } = scripted(["abcdef", "uvw"]);
    const options = { tokenizer, maxTokens: 99, endTokens: [0], random: () => randomStream(0, "x") };
    const events: GenerateEvent[] = [];
    for await (const event of generate(decoder, [prompt, prompt], {
      ...options,
      signal: controller.signal,
    })) {
      events.push(event);
      if (event.type === "text" && event.text === "w") controller.abort();
    }
    const ends = events.filter((event) => event.type === "end");
    expect(ends).toMatchObject([
      { row: 0, reason: "cancelled", text: "abc" },
      { row: 1, reason: "cancelled", text: "uvw" },
    ]);
    expect((await run(["abc"], { signal: AbortSignal.abort() })).ends[0]).toMatchObject({
      reason: "cancelled",
      text: "",
      ids: [],
    });
  });
});

test("rows end at different times, and a finished row is fed nothing", async () => {
  const { ends, calls, events } = await run(["ab", "abcdefgh", "a|b"], { stops: ["|"], maxTokens: 6 });
  expect(ends).toMatchObject([
    { row: 0, reason: "end", text: "ab" },
    { row: 1, reason: "length", text: "abcdef" },
    { row: 2, reason: "stop", text: "a" },
  ]);
  expect(calls.map((rows) => rows.map(({ length }) => length))).toEqual([
    [5, 5, 5],
    [1, 1, 1],
    [1, 1, 0],
    [0, 1, 0],
    [0, 1, 0],
    [0, 1, 0],
  ]);
  for (const row of [0, 1, 2]) expect(textOf(events, row)).toBe(ends[row]!.text);
});

test("texts joined are the final text, are whole characters, and hold no stop text", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.string({ unit: fc.constantFrom("a", "b", "é", "漢", "🙂"), maxLength: 12 }),
      fc.array(fc.string({ unit: fc.constantFrom("a", "b", "é", "🙂"), minLength: 1, maxLength: 3 }), {
        maxLength: 2,
      }),
      async (answer, stops) => {
        const { events, ends } = await run([answer], { stops });
        const text = textOf(events, 0);
        expect(text).toBe(ends[0]!.text);
        // the stop text that is complete first
        const cuts = stops
          .filter((stop) => answer.includes(stop))
          .map((stop) => answer.indexOf(stop) + stop.length);
        const end = Math.min(...cuts);
        const cut = cuts.length === 0 ? answer : answer.slice(0, end);
        expect(cut.startsWith(text)).toBe(true);
        if (cuts.length === 0) expect(text).toBe(answer);
        else expect(stops).toContain(cut.slice(text.length));
        for (const stop of stops) expect(text.includes(stop)).toBe(false);
        for (const event of events) if (event.type === "text") expect(event.text).not.toMatch(/\uFFFD|^$/);
        expect(ends[0]!.reason).toBe(cuts.length === 0 ? "end" : "stop");
      },
    ),
    { numRuns: 100 },
  );
});

describe("what cannot work is refused:", () => {
  test.each([0, 1.5, -1, Number.NaN])("maxTokens %d", async (maxTokens) => {
    await expect(run(["a"], { maxTokens })).rejects.toThrowError(
      expect.objectContaining({
        code: "bad_option",
        message: `maxTokens is ${maxTokens}; it must be 1 or more`,
      }),
    );
  });

  test("an empty prompt", async () => {
    const { decoder } = scripted(["a"]);
    const options = { tokenizer, maxTokens: 1, endTokens: [], random: () => randomStream(0, "x") };
    await expect(generate(decoder, [[]], options).next()).rejects.toThrowError(
      expect.objectContaining({ code: "bad_data", message: "the prompt is empty; give at least one token" }),
    );
  });

  test("sampling out of range, and an empty stop text", async () => {
    await expect(run(["a"], { sampling: { topP: 2 } })).rejects.toThrowError(/topP is 2/);
    await expect(run(["a"], { stops: [""] })).rejects.toThrowError(/stop string is empty/);
  });
});
