import { describe, expect, test } from "vitest";
import { NO_ANSWER } from "./answer.ts";
import { toMessages } from "./messages.ts";
import { tally, toJsonLines, toLessons, toPairs, type Vote } from "./votes.ts";

const said = (text: string) => ({ ...NO_ANSWER, status: "done" as const, text });
const candidate = (model: string, texts: readonly string[], system = "") => ({
  model,
  messages: toMessages(
    system,
    texts.map((text, i) => ({ user: `question ${i + 1}`, answer: said(text) })),
  ),
});
const vote = (more: Partial<Vote>): Vote => ({
  at: 0,
  mode: "chat",
  isBlind: true,
  candidates: [candidate("base", ["No."], "Be kind."), candidate("tuned", ["Yes!"], "Be kind.")],
  verdict: 1,
  ...more,
});

test("a vote is a lesson for the better answer, where it is one of text", () => {
  expect(toLessons(vote({ at: 1500 }))).toEqual([
    {
      messages: [
        { role: "system", content: "Be kind." },
        { role: "user", content: "question 1" },
        { role: "assistant", content: "Yes!" },
      ],
      rejected_response: "No.",
      source: { kind: "vote", id: "1500", created_at: 1 },
    },
  ]);
  const parted = [candidate("a", ["1", "good"]), candidate("b", ["2", "bad"])];
  for (const other of [
    vote({ verdict: "tie" }),
    vote({ mode: "text" }),
    vote({ tools: [{}] }),
    vote({ candidates: parted }),
  ])
    expect(toLessons(other)).toEqual([]);
});

describe("preference pairs", () => {
  test("have TRL's form", () => {
    expect(toJsonLines([vote({})])).toBe(
      `${JSON.stringify({
        prompt: [
          { role: "system", content: "Be kind." },
          { role: "user", content: "question 1" },
        ],
        chosen: [{ role: "assistant", content: "Yes!" }],
        rejected: [{ role: "assistant", content: "No." }],
      })}\n`,
    );
  });

  test("are the better answer against each other one", () => {
    const candidates = [candidate("a", ["1"]), candidate("b", ["2"]), candidate("c", ["3"])];
    expect(toPairs(vote({ candidates, verdict: 2 })).map(({ rejected }) => rejected)).toEqual([
      [{ role: "assistant", content: "1" }],
      [{ role: "assistant", content: "2" }],
    ]);
  });

  test("of conversations begin where these part", () => {
    const candidates = [candidate("a", ["same", "good"]), candidate("b", ["same", "bad"])];
    const [pair] = toPairs(vote({ candidates, verdict: 0 }));
    expect(pair?.prompt).toHaveLength(3);
    const parted = [candidate("a", ["1", "good"]), candidate("b", ["2", "bad"])];
    expect(toPairs(vote({ candidates: parted, verdict: 0 }))[0]?.chosen).toEqual([
      { role: "assistant", content: "1" },
      { role: "user", content: "question 2" },
      { role: "assistant", content: "good" },
    ]);
  });

  test("of texts are texts", () => {
    const candidates = [candidate("a", [" one"]), candidate("b", [" two"])];
    expect(toPairs(vote({ mode: "text", candidates, verdict: 0 }))).toEqual([
      { prompt: "question 1", chosen: " one", rejected: " two" },
    ]);
  });

  test("keep the tools, and a last call without a result", () => {
    const calls = [{ id: "1", kind: "function" as const, name: "weather", text: "{}" }];
    const calling = {
      model: "b",
      messages: toMessages("", [{ user: "question 1", answer: { ...said(""), calls } }]),
    };
    const tools = [{ type: "function", function: { name: "weather" } }];
    const [pair] = toPairs(vote({ candidates: [candidate("a", ["no"]), calling], tools }));
    expect(pair?.tools).toBe(tools);
    expect(pair?.chosen).toEqual([
      {
        role: "assistant",
        content: "",
        tool_calls: [{ id: "1", type: "function", function: { name: "weather", arguments: "{}" } }],
      },
    ]);
  });

  test("are none for ties, bad answers and equal ones", () => {
    expect(toPairs(vote({ verdict: "tie" }))).toEqual([]);
    expect(toPairs(vote({ verdict: "bad" }))).toEqual([]);
    expect(toPairs(vote({ candidates: [candidate("a", ["x"]), candidate("b", ["x"])] }))).toEqual([]);
    expect(toJsonLines([])).toBe("");
  });
});

test("the tally counts wins, losses and the rest, the best first", () => {
  expect(tally([vote({}), vote({ verdict: "tie" }), vote({})])).toEqual([
    { model: "tuned", wins: 2, losses: 0, others: 1 },
    { model: "base", wins: 0, losses: 2, others: 1 },
  ]);
});
