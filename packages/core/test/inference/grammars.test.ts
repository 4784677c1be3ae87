// Answers of grammars: of the tiny model, whose random weights like no grammar, each is what its grammar allows.
import { GrammarError, type GrammarSource } from "mixture-of-shards-grammar";
import { describe, expect, test } from "vitest";
import type { MosError } from "#common";
import type { Engine, EngineRequest } from "#inference";
import { runs } from "../../../../test/runs.ts";
import { tinyModel } from "../tiny-model.ts";
import { memoryAdapters } from "./memory-adapters.ts";
import {
  type Answer,
  catchRefusal,
  collectAnswer,
  randomPrompt,
  request,
  thrownBy,
  tinyEngine,
} from "./tiny-engine.ts";

const text = (spelled: string): GrammarSource => ({ type: "text", text: spelled });

/** Blocks of two letters, of which the model finds many; and a text that repeats itself, for drafts. */
const blocks: GrammarSource = {
  type: "repeat",
  of: { type: "choice", choices: ["ab", "ad", "xyz", "Hello"] },
  min: 3,
  max: 12,
};
const grammars: readonly (readonly [GrammarSource, RegExp])[] = [
  [blocks, /^(ab|ad|xyz|Hello){3,12}$/],
  [{ type: "choice", choices: ["yes", "no", "nothing", "noon"] }, /^(yes|no|nothing|noon)$/],
  [{ type: "sequence", parts: [text("begin"), blocks, text("end")] }, /^begin(ab|ad|xyz|Hello){3,12}end$/],
  [{ type: "repeat", of: text("abba"), min: 0, max: 20, separator: text("X") }, /^(abba(Xabba){0,19})?$/],
];

/** Every second request is free, the others have each of the grammars. */
const requests: readonly EngineRequest[] = Array.from({ length: 12 }, (_, i) => {
  const grammar = grammars[Math.floor(i / 2) % grammars.length]?.[0];
  return request({
    prompt: randomPrompt(i, 5 + i),
    maxTokens: i % 2 === 0 ? 70 : 90,
    seed: i,
    ...(i % 2 === 0 ? { ignoreEos: true } : { grammar }),
    ...(i % 3 === 0 ? { logprobs: 2 } : {}),
    ...(i % 4 > 1 ? { sampling: { temperature: 2 } } : {}),
    ...(i % 5 === 1 ? { sampling: { temperature: 1, topP: 0.5, repetitionPenalty: 1.2 } } : {}),
  });
});

type Options = NonNullable<Parameters<typeof tinyEngine>[1]>;

async function collectAnswers(options: Options, send: (engine: Engine) => Promise<readonly Answer[]>) {
  await using engine = await tinyEngine(memoryAdapters(new Map()), { maxLength: 200, ...options });
  const answers = await send(engine);
  return { answers, stats: await engine.stats() };
}

const together = (engine: Engine): Promise<readonly Answer[]> =>
  Promise.all(requests.map((one) => collectAnswer(engine.submit(one))));

async function oneByOne(engine: Engine): Promise<readonly Answer[]> {
  const answers: Answer[] = [];
  for (const one of requests) answers.push(await collectAnswer(engine.submit(one)));
  return answers;
}

const outline = ({ ids, text, end }: Answer) => ({ ids, text, reason: end.finishReason });
const expectSame = (found: readonly Answer[], expected: readonly Answer[]): void =>
  found.forEach((answer, i) => {
    expect(outline(answer), `request ${i}`).toEqual(outline(expected[i]!));
  });

const alone = await collectAnswers({ maxBatch: 1 }, oneByOne);

describe("answers", () => {
  test("are what their grammars allow, and end by themselves", () => {
    alone.answers.forEach(({ text, end }, i) => {
      const [, expected] = grammars[Math.floor(i / 2) % grammars.length]!;
      if (i % 2 === 0) return;
      expect(text).toMatch(expected);
      expect(end.finishReason).toBe("end");
    });
    expect(alone.stats.grammars).toMatchObject({ compiled: 4, hits: 2, resident: 4, refused: {} });
    expect(alone.stats.grammars.masks).toBeGreaterThan(20);
    expect(alone.stats.grammars.residentBytes).toBeGreaterThan(1000);
  });

  test("in one batch with free ones are those alone, and so are the free ones", async () => {
    const { answers } = await collectAnswers({ maxBatch: 8 }, together);
    expectSame(answers, alone.answers);
  });

  test("that are preempted are those alone", async () => {
    const { answers, stats } = await collectAnswers({ cacheMemory: 2 * 128 * 256 }, together);
    expect(stats.promptTokens, "none was preempted").toBeGreaterThan(
      requests.reduce((sum, { prompt }) => sum + prompt.length, 0),
    );
    expectSame(answers, alone.answers);
  });

  test("whose grammars are matched in the smallest slices are those alone, also where they are preempted", async () => {
    const limits = { maxBatch: 8, cacheMemory: 2 * 128 * 256 };
    const small = await collectAnswers({ ...limits, grammarMilliseconds: 0 }, together);
    expectSame(small.answers, alone.answers);
    const { answers } = await collectAnswers({ maxBatch: 8, grammarMilliseconds: Infinity }, together);
    expectSame(answers, alone.answers);
  });

  test("with drafts are those without, also in the smallest slices", async () => {
    // int8 products need widths that are a multiple of 16
    const overrides = { head_dim: 8, hidden_size: 32, intermediate_size: 48, max_position_embeddings: 512 };
    const limits = { model: tinyModel({ overrides }), maxBatch: 1, now: evenClock() };
    const plain = await collectAnswers({ ...limits, draftTokens: 0 }, oneByOne);
    const drafted = await collectAnswers({ ...limits, draftTokens: 7 }, oneByOne);
    expectSame(drafted.answers, plain.answers);
    expect(drafted.stats.acceptedTokens).toBeGreaterThan(10);
    if (runs(2) === 1) return;
    const sliced = await collectAnswers({ ...limits, draftTokens: 7, grammarMilliseconds: 0 }, oneByOne);
    expectSame(sliced.answers, plain.answers);
  });

  test("of one grammar with several seeds are compiled once", async () => {
    const { answers, stats } = await collectAnswers({}, (engine) =>
      Promise.all(
        Array.from({ length: 4 }, (_, seed) =>
          collectAnswer(
            engine.submit(request({ grammar: blocks, seed, maxTokens: 60, sampling: { temperature: 2 } })),
          ),
        ),
      ),
    );
    expect(new Set(answers.map(({ text }) => text)).size).toBeGreaterThan(1);
    expect(stats.grammars).toMatchObject({ compiled: 1, hits: 3, resident: 1 });
  });
});

/** A clock by which all steps take as long, so that drafts pay wherever the text repeats. */
function evenClock(): () => number {
  let time = 0;
  return () => ++time;
}

describe("a request", () => {
  test("that is cancelled while its grammar is compiled ends at once", async () => {
    await using engine = await tinyEngine(memoryAdapters(new Map()), { maxBatch: 1, maxWaiting: 1 });
    for (const wait of [0, 1, 5, 30]) {
      const stop = new AbortController();
      const events = engine.submit(request({ grammar: blocks, signal: stop.signal }));
      setTimeout(() => stop.abort(), wait);
      if (wait === 0) stop.abort();
      const { end } = await collectAnswer(events);
      expect(["cancelled", "end", "length"]).toContain(end.finishReason);
      if (wait === 0)
        expect(end).toMatchObject({ finishReason: "cancelled", usage: { completionTokens: 0 } });
    }
    await engine.drain();
  });

  test("that is cancelled while its grammar is matched ends, and another one goes on", async () => {
    await using engine = await tinyEngine(memoryAdapters(new Map()), { maxBatch: 4, grammarMilliseconds: 0 });
    const free = collectAnswer(engine.submit(request({ maxTokens: 50, ignoreEos: true })));
    for (const before of [0, 1, 2, 5]) {
      const stop = new AbortController();
      const events: string[] = [];
      for await (const event of engine.submit(
        request({ grammar: blocks, maxTokens: 60, signal: stop.signal }),
      )) {
        events.push(event.type === "finish" ? event.finishReason : event.type);
        if (events.filter((type) => type === "token").length >= before) stop.abort();
      }
      expect(events.at(-1)).toBe("cancelled");
    }
    expect((await free).ids).toHaveLength(50);
  });

  test("counts as waiting while its grammar is compiled", async () => {
    await using engine = await tinyEngine(memoryAdapters(new Map()), { maxBatch: 1, maxWaiting: 1 });
    const first = engine.submit(request({ grammar: blocks }));
    const second = engine.submit(request({ grammar: blocks }));
    expect(thrownBy(() => engine.submit(request()))).toBe("busy");
    await Promise.all([first, second].map(collectAnswer));
    await collectAnswer(engine.submit(request()));
  });

  test("ends with the engine", async () => {
    const engine = await tinyEngine(memoryAdapters(new Map()));
    const events = engine.submit(request({ grammar: blocks }));
    await engine[Symbol.asyncDispose]();
    expect(await catchRefusal(() => events)).toBe("device");
  });
});

describe("refused are", () => {
  const refusal = async (given: Partial<EngineRequest>): Promise<unknown> => {
    await using engine = await tinyEngine(memoryAdapters(new Map()));
    try {
      await collectAnswer(engine.submit(request(given)));
    } catch (error) {
      return error;
    }
    return undefined;
  };

  test("a grammar that is none, with the reason as the cause, which is counted", async () => {
    await using engine = await tinyEngine(memoryAdapters(new Map()));
    const grammar: GrammarSource = { type: "choice", choices: [] };
    const error = await collectAnswer(engine.submit(request({ grammar }))).catch((cause: unknown) => cause);
    expect(error).toMatchObject({ code: "bad_option", message: expect.stringContaining("choices") });
    expect((error as MosError).cause).toBeInstanceOf(GrammarError);
    expect((await engine.stats()).grammars).toMatchObject({ refused: { bad_grammar: 1 }, resident: 0 });
    expect((await collectAnswer(engine.submit(request()))).ids).toHaveLength(8);
  });

  test("special tokens that the vocabulary does not have; others that it counts as text are text", async () => {
    const parts = (token: string): GrammarSource => ({
      type: "sequence",
      parts: [{ type: "any_of", options: [{ type: "special_token", token }] }],
    });
    expect(await refusal({ grammar: parts("<|none|>") })).toMatchObject({ code: "bad_option" });
    await using engine = await tinyEngine(memoryAdapters(new Map()));
    expect((await collectAnswer(engine.submit(request({ grammar: parts("k") })))).text).toBe("k");
  });

  test("a grammar of texts that the model's tokens cannot spell", async () => {
    expect(await refusal({ grammar: text("é") })).toMatchObject({
      code: "unsupported",
      message: expect.stringContaining("none of the model's tokens"),
    });
  });

  test("a grammar with ignoreEos, or of an embedding", async () => {
    await using engine = await tinyEngine(memoryAdapters(new Map()));
    for (const other of [{ ignoreEos: true }, { pooling: "last" as const }])
      expect(thrownBy(() => engine.submit(request({ grammar: blocks, ...other })))).toBe("bad_option");
  });
});
