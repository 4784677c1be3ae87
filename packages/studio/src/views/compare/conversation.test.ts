import { describe, expect, test } from "vitest";
import { Conversation, canVote } from "./conversation.ts";
import type { StreamRequest } from "./runner.ts";
import { readComparison, writeComparison } from "./share.ts";

const chunk = (content: string, finish: string | null = null) => ({
  choices: [{ index: 0, delta: { content }, logprobs: null, finish_reason: finish }],
});

interface Sent {
  readonly request: StreamRequest;
  /** Sends a chunk, ends the stream, or breaks it. */
  readonly say: (text: string) => Promise<void>;
  readonly end: () => Promise<void>;
  readonly fail: (error: Error) => Promise<void>;
}

const settle = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await Promise.resolve();
};

/** A session whose streams a test feeds by hand. */
function start(models: readonly string[]) {
  const sent: Sent[] = [];
  let seed = 100;
  async function* stream(request: StreamRequest, signal: AbortSignal): AsyncGenerator<unknown> {
    const events: (readonly ["data" | "error", unknown] | undefined)[] = [];
    let wake = (): void => undefined;
    const push = async (...event: Parameters<typeof events.push>): Promise<void> => {
      events.push(...event);
      wake();
      await settle();
    };
    signal.addEventListener("abort", () => void push(["error", new DOMException("stopped", "AbortError")]));
    sent.push({
      request,
      say: (text) => push(["data", chunk(text)]),
      end: () => push(["data", chunk("", "stop")], undefined),
      fail: (error) => push(["error", error]),
    });
    for (;;) {
      if (events.length === 0) await new Promise<void>((resolve) => (wake = resolve));
      const event = events.shift();
      if (event === undefined) return;
      if (event[0] === "error") throw event[1];
      yield event[1];
    }
  }
  let now = 0;
  const session = new Conversation({
    stream,
    now: () => now++,
    schedule: (run) => queueMicrotask(run),
    drawSeed: () => seed++,
  });
  void session.choose(models);
  const answer = (turn: number, model: string) => session.turns.value[turn]?.answers.get(model)?.value;
  return { session, sent, answer };
}

describe("a comparison", () => {
  test("asks all models at once with one seed, and goes on with each one's own answers", async () => {
    const { session, sent, answer } = start(["base", "tuned"]);
    void session.send("Hi");
    await settle();
    expect(sent.map(({ request }) => [request.body.model, request.body.seed])).toEqual([
      ["base", 100 + 1],
      ["tuned", 100 + 1],
    ]);
    expect(session.isRunning.value).toBe(true);
    await sent[0]!.say("Hello");
    expect(answer(0, "base")).toMatchObject({ status: "streaming", text: "Hello" });
    await sent[0]!.end();
    expect(session.ends.value).toEqual(["base finished, 1 token"]);
    await sent[1]!.say("Ahoy");
    await sent[1]!.end();
    expect(session.isRunning.value).toBe(false);
    void session.send("And?");
    await settle();
    expect(sent[3]?.request.body).toMatchObject({
      messages: [
        { role: "user", content: "Hi" },
        { role: "assistant", content: "Ahoy" },
        { role: "user", content: "And?" },
      ],
    });
  });

  test("stops: what has come stays", async () => {
    const models = [..."abcdefg"];
    const { session, sent, answer } = start(models);
    void session.send("Hi");
    await settle();
    expect(sent.map(({ request }) => request.body.model)).toEqual(models);
    await sent[0]!.say("Hel");
    session.stop();
    await settle();
    expect(answer(0, "a")).toMatchObject({ status: "stopped", text: "Hel" });
    expect(answer(0, "g")).toMatchObject({ status: "stopped", text: "" });
    expect(session.isRunning.value).toBe(false);
  });

  test("fails in one pane, and tries that one again", async () => {
    const { session, sent, answer } = start(["base", "tuned"]);
    void session.send("Hi");
    await settle();
    await sent[1]!.say("Ah");
    await sent[1]!.fail(Object.assign(new Error("the server was lost"), { code: "lost" }));
    await sent[0]!.end();
    expect(answer(0, "tuned")).toMatchObject({
      status: "failed",
      problem: { message: "the server was lost", code: "lost" },
    });
    expect(answer(0, "base")?.status).toBe("done");
    void session.catchUp("tuned");
    await settle();
    expect(sent).toHaveLength(3);
    expect(sent[2]?.request).toEqual(sent[1]?.request);
    await sent[2]!.say("Ahoy");
    await sent[2]!.end();
    expect(answer(0, "tuned")).toMatchObject({ status: "done", text: "Ahoy", problem: null });
  });

  test("edits a turn: later ones are dropped", async () => {
    const { session, sent, answer } = start(["base"]);
    for (const text of ["one", "two"]) {
      void session.send(text);
      await settle();
      await sent.at(-1)!.say(text);
      await sent.at(-1)!.end();
    }
    void session.edit(0, "other");
    await settle();
    expect(session.turns.value.map(({ user }) => user)).toEqual(["other"]);
    expect(sent.at(-1)?.request.body).toMatchObject({ messages: [{ role: "user", content: "other" }] });
    // what an earlier stream still says is not this turn's
    await sent[1]!.say("late");
    expect(answer(0, "base")?.text).toBe("");
  });

  test("asks again with the same seed", async () => {
    const { session, sent, answer } = start(["base"]);
    void session.send("one");
    await settle();
    await sent[0]!.end();
    session.settings.value = { ...session.settings.value, logprobs: true };
    void session.again(session.turns.value[0]!);
    await settle();
    expect(sent[1]?.request.body).toEqual({ ...sent[0]?.request.body, logprobs: true, top_logprobs: 5 });
    expect(answer(0, "base")?.status).toBe("sent");
  });

  test("asks a model that comes later all that was asked", async () => {
    const { session, sent } = start(["base"]);
    void session.send("one");
    await settle();
    await sent[0]!.end();
    void session.choose(["base", "tuned"]);
    await settle();
    expect(sent.map(({ request }) => request.body.model)).toEqual(["base", "tuned"]);
    expect(sent[1]?.request.body.seed).toBe(sent[0]?.request.body.seed);
  });

  test("is blind until the vote", async () => {
    const { session, sent } = start(["base", "tuned", "other"]);
    session.isBlind.value = true;
    void session.send("Hi");
    await settle();
    expect(session.panes.value.map(({ name }) => name)).toEqual(["A", "B", "C"]);
    const [turn] = session.turns.value;
    expect(canVote(turn!)).toBe(false);
    for (const { request, say, end } of sent) {
      await say(request.body.model);
      await end();
    }
    expect(session.ends.value.join()).not.toContain("tuned");
    expect(canVote(turn!)).toBe(true);
    const order = session.panes.value.map(({ model }) => model);
    const vote = session.vote(turn!, 1, 5);
    expect(vote).toMatchObject({ isBlind: true, verdict: 1, at: 5 });
    expect(vote.candidates[1]?.messages.at(-1)?.content).toBe(order[1]);
    // revealed, each stays in its place
    expect(session.panes.value).toEqual(order.map((model) => ({ model, name: model })));
    void session.edit(0, "Hi again");
    expect(session.panes.value.map(({ name }) => name)).toEqual(["A", "B", "C"]);
  });

  test("is saved and opened as it was", async () => {
    const { session, sent } = start(["base", "tuned"]);
    session.settings.value = { ...session.settings.value, system: "Be kind.", temperature: 0.5 };
    void session.send("Hi");
    await settle();
    await sent[0]!.say("Hello");
    await sent[0]!.end();
    const file = writeComparison(session.toComparison(), new Date(0));
    const other = start([]);
    other.session.open(readComparison(file));
    expect(other.answer(0, "base")?.text).toBe("Hello");
    expect(other.answer(0, "tuned")?.status).toBe("stopped");
    expect(other.session.settings.value).toMatchObject({ system: "Be kind.", temperature: 0.5 });
    expect(other.sent).toEqual([]);
  });
});
