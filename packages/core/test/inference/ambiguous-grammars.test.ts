// Answers of grammars that can be read in more ways the longer they are: each takes its own time, and its memory goes back.
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { GrammarSource } from "mixture-of-shards-grammar";
import { describe, expect, onTestFinished, test } from "vitest";
import type { Engine, EngineEvent } from "#inference";
import { CoreGrammars } from "../../src/inference/core-grammars.ts";
import { memoryAdapters } from "./memory-adapters.ts";
import { type Answer, catchRefusal, collectAnswer, request, tinyEngine } from "./tiny-engine.ts";

const ambiguous: GrammarSource = {
  type: "lark",
  text: `start: x\nx: ${Array.from({ length: 20 }, (_, i) => "x ".repeat(i + 2)).join(" | ")} | "a"`,
};
const LENGTH = 30;
const hostile = request({ grammar: ambiguous, minTokens: LENGTH, maxTokens: LENGTH, tenant: "hostile" });

describe("an ambiguous answer", () => {
  test("waits while it needs more than its share of a step, and others go on", async () => {
    // a clock by which looking at it is all that takes time: once for some hundred items of a parser
    let time = 0;
    const now = (): number => ++time;
    await using engine = await tinyEngine(memoryAdapters(new Map()), { maxLength: 300, now });
    const order: string[] = [];
    const read = async (name: string, events: AsyncIterable<EngineEvent>): Promise<void> => {
      for await (const { type } of events) if (type === "token") order.push(name);
    };
    // whose grammar is compiled before the other begins
    await engine.checkGrammar(ambiguous);
    await Promise.all([
      read("hostile", engine.submit(hostile)),
      read("free", engine.submit(request({ maxTokens: 280, ignoreEos: true }))),
    ]);
    const last = order.lastIndexOf("hostile");
    const before = order.slice(0, last).filter((name) => name === "free").length;
    expect(order.filter((name) => name === "hostile")).toHaveLength(LENGTH);
    expect(before).toBeGreaterThan(3 * LENGTH);
  });

  test("gives its memory back when it ends, is cancelled or fails", async () => {
    await using engine = await tinyEngine(memoryAdapters(new Map()), { maxLength: 300 });
    const matchers = watchMatchers();
    const bytes = async (): Promise<number> => (await engine.stats()).grammars.residentBytes;
    const ends = {
      ended: () => collectAnswer(engine.submit(hostile)),
      cancelled: () => cancelAfter(engine, LENGTH),
    };
    await ends.ended();
    const before = await bytes();
    const unspelled: GrammarSource = { type: "text", text: "aé" };
    expect(await catchRefusal(() => engine.submit({ ...hostile, grammar: unspelled }))).toBe("unsupported");
    for (const [name, end] of Object.entries(ends)) {
      let most = 0;
      const isOver = end().then(() => true);
      while (!(await Promise.race([isOver, new Promise((resolve) => setTimeout(resolve, 5, false))])))
        most = Math.max(most, await bytes());
      expect(most - before, name).toBeGreaterThan(200_000);
      expect((await bytes()) - before, name).toBeLessThan(100_000);
    }
    expect(matchers).toHaveLength(2 + 2);
    collectGarbage();
    expect(matchers.filter((one) => one.deref() !== undefined)).toEqual([]);
  });
});

async function cancelAfter(engine: Engine, tokens: number): Promise<Answer> {
  const stop = new AbortController();
  const events = engine.submit({ ...hostile, minTokens: 200, maxTokens: 200, signal: stop.signal });
  async function* watched(): AsyncGenerator<EngineEvent> {
    let seen = 0;
    for await (const event of events) {
      if (event.type === "token" && ++seen === tokens) stop.abort();
      yield event;
    }
  }
  return await collectAnswer(watched());
}

/** The matchers of all answers from now on, unless they are garbage. */
function watchMatchers(): readonly WeakRef<object>[] {
  const matchers: WeakRef<object>[] = [];
  const { prototype } = CoreGrammars;
  const { matcher } = prototype;
  // a spy would keep what it returns
  prototype.matcher = async function (...given) {
    const made = await matcher.apply(this, given);
    matchers.push(new WeakRef(made));
    return made;
  };
  onTestFinished(() => {
    prototype.matcher = matcher;
  });
  return matchers;
}

function collectGarbage(): void {
  setFlagsFromString("--expose-gc");
  const collect: () => void = runInNewContext("gc");
  collect();
}
