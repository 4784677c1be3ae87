import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type Answer,
  addArrivals,
  endAnswer,
  failAnswer,
  firstTokenTime,
  isUsable,
  NO_ANSWER,
  stopAnswer,
  tokensPerSecond,
  tokenTexts,
} from "./answer.ts";

const SENT: Answer = { ...NO_ANSWER, status: "sent", sentAt: 100 };
const chunk = (delta: object, more: object = {}) => ({
  choices: [{ index: 0, delta, logprobs: null, finish_reason: null, ...more }],
});
const arrive = (chunks: readonly unknown[]) => chunks.map((data, i) => ({ data, at: 150 + 10 * i }));

describe("an answer", () => {
  test("grows by text, and keeps its times", () => {
    const start = addArrivals(SENT, arrive([chunk({ role: "assistant", content: "" })]));
    expect(start.status).toBe("sent");
    const grown = addArrivals(start, arrive([chunk({ content: "Hel" }), chunk({ content: "lo" })]));
    expect(grown).toMatchObject({ status: "streaming", text: "Hello", count: 2, firstAt: 150, lastAt: 160 });
    expect(firstTokenTime(grown)).toBe(50);
    const usage = { choices: [], usage: { completion_tokens: 11 } };
    const done = endAnswer(addArrivals(grown, arrive([chunk({}, { finish_reason: "stop" }), usage])));
    expect(done).toMatchObject({ status: "done", finish: "stop", count: 11 });
    expect(tokensPerSecond(done)).toBe(1000);
  });

  test("is the same in whatever slices its chunks come", () => {
    const texts = fc.array(fc.string(), { maxLength: 20 });
    fc.assert(
      fc.property(texts, fc.nat({ max: 20 }), (parts, cut) => {
        const arrivals = arrive(parts.map((content) => chunk({ content })));
        const whole = addArrivals(SENT, arrivals);
        expect(addArrivals(addArrivals(SENT, arrivals.slice(0, cut)), arrivals.slice(cut))).toEqual(whole);
        expect(whole.text).toBe(parts.join(""));
      }),
    );
  });

  test("collects calls and reasoning", () => {
    const head = { index: 0, id: "call_1", type: "function", function: { name: "weather", arguments: "" } };
    const more = (text: string) => chunk({ tool_calls: [{ index: 0, function: { arguments: text } }] });
    const custom = { index: 1, id: "call_2", type: "custom", custom: { name: "run", input: "ls" } };
    const { calls, reasoning } = addArrivals(
      SENT,
      arrive([
        chunk({ reasoning_content: "Hm." }),
        chunk({ tool_calls: [head] }),
        more('{"city"'),
        more(':"Bonn"}'),
        chunk({ tool_calls: [custom] }),
      ]),
    );
    expect(reasoning).toBe("Hm.");
    expect(calls).toEqual([
      { id: "call_1", kind: "function", name: "weather", text: '{"city":"Bonn"}' },
      { id: "call_2", kind: "custom", name: "run", text: "ls" },
    ]);
  });

  test("reads log-probabilities of chats and of completions", () => {
    const top = [{ token: "Hi", logprob: -0.1, bytes: [72, 105] }];
    const content = [{ token: "Hi", logprob: -0.1, bytes: [72, 105], top_logprobs: top }];
    const chat = addArrivals(SENT, arrive([chunk({ content: "Hi" }, { logprobs: { content } })]));
    expect(chat.tokens).toEqual([
      { text: "Hi", bytes: [72, 105], logprob: -0.1, top: [{ text: "Hi", logprob: -0.1 }] },
    ]);
    const lists = {
      tokens: ["Hi"],
      token_logprobs: [-1],
      top_logprobs: [{ Hi: -1, Ho: -0.5 }],
      text_offset: [0],
    };
    const text = addArrivals(SENT, arrive([{ choices: [{ index: 0, text: "Hi", logprobs: lists }] }]));
    expect(text.text).toBe("Hi");
    expect(text.tokens[0]?.top.map((other) => other.text)).toEqual(["Ho", "Hi"]);
  });

  test("fails by a stream without an end, and stays as it ended", () => {
    expect(endAnswer(SENT)).toMatchObject({ status: "failed" });
    const stopped = stopAnswer(addArrivals(SENT, arrive([chunk({ content: "Hel" })])));
    expect(isUsable(stopped)).toBe(true);
    expect(isUsable(failAnswer(SENT, { message: "no" }))).toBe(false);
    for (const change of [endAnswer, stopAnswer, (one: Answer) => failAnswer(one, { message: "late" })])
      expect(change(stopped)).toBe(stopped);
    expect(addArrivals(stopped, arrive([chunk({ content: "lo" })]))).toBe(stopped);
  });

  test("is not harmed by anything that a stream may hold", () => {
    fc.assert(
      fc.property(fc.array(fc.jsonValue()), (values) => {
        const answer = addArrivals(
          SENT,
          arrive([...values, ...values.map((value) => ({ choices: [value] }))]),
        );
        expect(typeof answer.text).toBe("string");
      }),
    );
  });
});

test("tokens that are parts of characters add up to the text", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), fc.integer({ min: 1, max: 3 }), (text, size) => {
      const bytes = [...new TextEncoder().encode(text)];
      const tokens = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => ({
        text: "",
        bytes: bytes.slice(i * size, (i + 1) * size),
        logprob: 0,
        top: [],
      }));
      expect(tokenTexts(tokens).join("")).toBe(text);
    }),
  );
});
