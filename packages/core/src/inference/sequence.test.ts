import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Tokenizer } from "#text";
import { unpackLogprobs } from "./logprobs.ts";
import { fullRequest } from "./requests.ts";
import { Sequence } from "./sequence.ts";
import type { EngineEvent, EngineRequest } from "./types.ts";

/** One byte for each id: "é" takes two tokens. */
const tokenizer: Tokenizer = {
  vocabularySize: 256,
  bosToken: undefined,
  eosTokens: [0],
  strippedBlanks: 0,
  encode: (text) => [...new TextEncoder().encode(text)],
  decode: (ids) => new TextDecoder().decode(Uint8Array.from(ids)),
  idToToken: (id) => String(id),
  tokenToId: Number,
  isSpecial: () => false,
  idToBytes: (id) => Uint8Array.of(id),
};

/** Logits with their maximum at one token. */
const towards = (id: number): Float32Array => {
  const logits = new Float32Array(256);
  logits[id] = 5;
  return logits;
};

function makeSequence(
  over: Partial<EngineRequest> = {},
  now: () => number = () => 0,
  endTokens: readonly number[] = [0],
): Sequence {
  const bounds = { model: { vocabularySize: 256, maxLength: 1000 }, bytesPerPosition: 1, cacheMemory: 1e9 };
  const request = fullRequest({ prompt: [1, 2, 3], maxTokens: 99, ...over }, bounds);
  return new Sequence(7, request, { tokenizer, endTokens, now });
}

/** The events of an answer whose tokens spell this text. */
function write(sequence: Sequence, text: string): readonly EngineEvent[] {
  for (const id of tokenizer.encode(text)) if (!sequence.hasEnded) sequence.advance(towards(id));
  return sequence.takeUpdate()?.events ?? [];
}

const textPieces = (events: readonly EngineEvent[]): readonly string[] =>
  events.flatMap((event) => ("text" in event ? [event.text] : []));

describe("text is emitted once it is final:", () => {
  test("never half a character", () => {
    const sequence = makeSequence({ maxTokens: 3 });
    expect(textPieces(write(sequence, "aé"))).toEqual(["a", "", "é", ""]);
    expect(sequence.hasEnded).toBe(true);
  });

  test("half a character at the end becomes U+FFFD", () => {
    const events = write(makeSequence({ maxTokens: 2 }), "aé");
    expect(textPieces(events)).toEqual(["a", "", "\ufffd"]);
    expect(events.at(-1)).toMatchObject({ type: "finish", finishReason: "length" });
  });

  test("never the possible start of a stop string", () => {
    const sequence = makeSequence({ stop: ["xyz"] });
    expect(textPieces(write(sequence, "axyxyz?"))).toEqual(["a", "", "", "xy", "", "", ""]);
    expect(sequence.hasEnded).toBe(true);
    expect(sequence.generated).toBe(6);
  });

  test("the end token releases text that was held back", () => {
    const sequence = makeSequence({ stop: ["xyz"] });
    write(sequence, "xy");
    sequence.advance(towards(0));
    expect(sequence.takeUpdate()?.events.at(-1)).toMatchObject({
      type: "finish",
      finishReason: "end",
      text: "xy",
      usage: { completionTokens: 2 },
    });
  });

  test("so does a cancellation", () => {
    const sequence = makeSequence({ stop: ["xyz"] });
    write(sequence, "ax");
    sequence.finish("cancelled");
    const [finish] = sequence.takeUpdate()?.events ?? [];
    expect(finish).toMatchObject({ type: "finish", finishReason: "cancelled", text: "x" });
    expect(sequence.takeUpdate()).toBeUndefined();
  });
});

/** Where the stop string that is complete first ends. */
function endOfFirst(stop: readonly string[], text: string): number | undefined {
  const ends = stop.filter((one) => text.includes(one)).map((one) => text.indexOf(one) + one.length);
  return ends.length === 0 ? undefined : Math.min(...ends);
}

describe("an answer ends", () => {
  const finishReasons = (events: readonly EngineEvent[]) => {
    const last = events.at(-1);
    return last?.type === "finish" ? [last.finishReason, textPieces(events).join("")] : [undefined];
  };

  test("at any of several end tokens, which are not part of it", () => {
    const sequence = makeSequence({}, () => 0, [0, 46]);
    expect(finishReasons(write(sequence, "One. Two."))).toEqual(["end", "One"]);
    expect(sequence.generated).toBe(3);
  });

  test("at maxTokens where end tokens are ignored", () => {
    expect(finishReasons(write(makeSequence({ ignoreEos: true, maxTokens: 4 }), "a\0bc"))).toEqual([
      "length",
      "a\0bc",
    ]);
  });

  test("at a stop token, which is not part of it, also where end tokens are ignored", () => {
    const sequence = makeSequence({ stopTokens: [0x2e], ignoreEos: true });
    expect(finishReasons(write(sequence, "a\0b.c"))).toEqual(["end", "a\0b"]);
  });

  test("not before it has minTokens, whatever would end it", () => {
    const sequence = makeSequence({ minTokens: 3, stopTokens: [0x2e], stop: ["xx"] });
    const liking = (first: number, second: number): Float32Array => {
      const logits = towards(second);
      logits[first] = 9;
      return logits;
    };
    sequence.advance(liking(0, 0x78)); // the end token
    sequence.advance(liking(0x2e, 0x78)); // the stop token, then "xx"
    sequence.advance(towards(0x61));
    expect(finishReasons(write(sequence, "bxx."))).toEqual(["stop", "xxab"]);
    expect(sequence.generated).toBe(6);
  });

  test("in the middle of a character with U+FFFD, which may complete a stop string", () => {
    const half = (stop: readonly string[]) => {
      const sequence = makeSequence({ stop });
      write(sequence, "ok ");
      sequence.advance(towards(0xc3));
      sequence.advance(towards(0));
      const { events = [] } = sequence.takeUpdate() ?? {};
      return finishReasons(events);
    };
    expect(half([])).toEqual(["end", "\ufffd"]);
    expect(half(["\ufffd"])).toEqual(["stop", ""]);
  });

  test("with events whose texts join to the whole text, split no character and hold no stop string", () => {
    const answers = fc.string({ unit: fc.constantFrom("a", "b", "é", "漢", "🙂"), maxLength: 12 });
    const stops = fc.array(
      fc.string({ unit: fc.constantFrom("a", "b", "é", "🙂"), minLength: 1, maxLength: 3 }),
      { maxLength: 2 },
    );
    fc.assert(
      fc.property(answers, stops, (answer, stop) => {
        const sequence = makeSequence({ stop });
        const written = write(sequence, answer);
        if (!sequence.hasEnded) sequence.advance(towards(0));
        const events = [...written, ...(sequence.takeUpdate()?.events ?? [])];
        const text = textPieces(events).join("");
        const end = endOfFirst(stop, answer);
        const cut = answer.slice(0, end);
        if (end === undefined) expect(text).toBe(answer);
        else expect(stop).toContain(cut.slice(text.length));
        expect(cut.startsWith(text)).toBe(true);
        for (const one of stop) expect(text.includes(one)).toBe(false);
        for (const piece of textPieces(events)) expect(piece).not.toContain("\ufffd");
        expect(events.at(-1)).toMatchObject({ finishReason: end === undefined ? "end" : "stop" });
      }),
    );
  });
});

describe("a prompt's scores", () => {
  const logits = [2, 3, 9].map(towards);

  test("stay in order where prefill restarts or repeats a chunk", () => {
    const whole = makeSequence({ promptLogprobs: 1, maxTokens: 0 });
    whole.score(logits, 0);
    whole.advance(towards(9));
    const expected = whole.takeUpdate();
    const again = makeSequence({ promptLogprobs: 1, maxTokens: 0 });
    expect([again.needsAll, again.firstLogits]).toEqual([true, 0]);
    again.score(logits.slice(0, 1), 0);
    expect([again.needsAll, again.firstLogits]).toEqual([true, 1]);
    again.score(logits.slice(0, 2), 0);
    // the last token's logits score no prompt token: they choose the next one
    expect([again.needsAll, again.firstLogits]).toEqual([false, 2]);
    again.score(logits.slice(1), 1);
    again.advance(towards(9));
    expect(again.takeUpdate()).toEqual(expected);
    const prompt = expected?.events.find((event) => event.type === "prompt");
    expect(unpackLogprobs(prompt ?? {}).map(({ id, top }) => [id, top[0]?.id])).toEqual([
      [1, undefined],
      [2, 2],
      [3, 3],
    ]);
  });

  test("are emitted once, before the first token", () => {
    const sequence = makeSequence({ promptLogprobs: 0 });
    sequence.score(logits, 0);
    expect(write(sequence, "ab").map(({ type }) => type)).toEqual(["prompt", "token", "token"]);
  });
});

test("penalties count the answer's tokens, and a repetition penalty the prompt's, too", () => {
  const next = (sampling: EngineRequest["sampling"]): number | undefined => {
    const sequence = makeSequence({ prompt: [0x61], sampling: { ...sampling } });
    const logits = towards(0x61);
    logits[0x62] = 4;
    sequence.advance(logits);
    sequence.advance(logits);
    return sequence.tokens.at(-1);
  };
  expect(makeSequence({ prompt: [0x61] }).tokens).toEqual([0x61]);
  expect(next({})).toBe(0x61);
  expect(next({ presencePenalty: 2 })).toBe(0x62);
  expect(next({ frequencyPenalty: 2 })).toBe(0x62);
  const first = makeSequence({ prompt: [0x61], sampling: { presencePenalty: 2, repetitionPenalty: 1.1 } });
  const logits = towards(0x61);
  logits[0x62] = 4;
  first.advance(logits);
  expect(first.tokens).toEqual([0x61, 0x61]); // 5 / 1.1 > 4: presence does not count the prompt
  const repeating = makeSequence({ prompt: [0x61], sampling: { repetitionPenalty: 1.5 } });
  repeating.advance(logits);
  expect(repeating.tokens).toEqual([0x61, 0x62]);
});

test("usage counts tokens of the prompt that were not computed", () => {
  const countCached = (computed: readonly number[]) => {
    const sequence = makeSequence({ maxTokens: 1 });
    for (const tokens of computed) sequence.noteComputed(tokens);
    const finish = write(sequence, "a").at(-1);
    return finish?.type === "finish" ? finish.usage.cachedTokens : undefined;
  };
  expect(countCached([1])).toBe(2);
  expect(countCached([2, 1])).toBe(0);
  expect(countCached([2, 3]), "computed again").toBe(0);
  const cancelled = makeSequence();
  cancelled.finish("cancelled");
  expect(cancelled.takeUpdate()?.events.at(-1)).toMatchObject({ usage: { cachedTokens: 0 } });
});

test("usage names the step of the first token, where there is one", () => {
  const sequence = makeSequence({ maxTokens: 2 });
  sequence.step = 4;
  write(sequence, "a");
  sequence.step = 5;
  expect(write(sequence, "b").at(-1)).toMatchObject({ usage: { firstTokenStep: 4 } });
  const cancelled = makeSequence();
  cancelled.finish("cancelled");
  const [finish] = cancelled.takeUpdate()?.events ?? [];
  expect(finish?.type === "finish" && finish.usage).not.toHaveProperty("firstTokenStep");
});

test("usage counts seconds from the submission", () => {
  let time = 1000;
  const sequence = makeSequence({ maxTokens: 2 }, () => time);
  time = 3000;
  sequence.schedule();
  expect(sequence.takeUpdate()).toEqual({ id: 7, events: [{ type: "scheduled", digest: null }] });
  time = 4000;
  // it was preempted and has another slot
  sequence.schedule();
  expect(sequence.takeUpdate()).toBeUndefined();
  write(sequence, "a");
  time = 9000;
  expect(write(sequence, "b").at(-1)).toMatchObject({
    usage: { promptTokens: 3, completionTokens: 2, queuedSeconds: 2, firstTokenSeconds: 3 },
  });
});
