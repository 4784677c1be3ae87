// How requests end: cancelled wherever they are, refused, drained, or with the engine.
import { describe, expect, test, vi } from "vitest";
import { MosError } from "#core";
import type { Engine, EngineRequest } from "#inference";
import { type MemoryAdapters, memoryAdapters } from "./memory-adapters.ts";
import {
  answerOf,
  promptOf,
  randomFactors,
  refusalOf,
  request,
  type TinyEngineOptions,
  thrownBy,
  tinyEngine,
  until,
} from "./tiny-engine.ts";

const adapters = new Map([
  ["late", await randomFactors(1, { method: "lora", rank: 3 })],
  ["prompt", await randomFactors(2, { method: "lora", rank: 2 })],
]);
const long = request({ maxTokens: 300, ignoreEos: true });

async function withEngine<T>(
  work: (engine: Engine, manager: MemoryAdapters) => Promise<T>,
  options: TinyEngineOptions = {},
): Promise<T> {
  const manager = memoryAdapters(adapters, (name) => (name === "late" ? 50 : 0));
  await using engine = await tinyEngine(manager, { maxLength: 400, ...options });
  const result = await work(engine, manager);
  await vi.waitFor(() => expect(manager.leases(), "leases that nobody gave back").toBe(0));
  return result;
}

const alone = await withEngine((engine) => answerOf(engine.submit(long)));

describe("a request that is cancelled ends, wherever it is, and disturbs nobody:", () => {
  const cases: readonly (readonly [string, Partial<EngineRequest>, TinyEngineOptions, string[]])[] = [
    ["waiting for a row", {}, { maxBatch: 1 }, ["finish"]],
    ["loading its adapter", { adapter: "late" }, {}, ["finish"]],
    [
      "reading its prompt",
      { prompt: promptOf(1, 250), maxTokens: 9 },
      { prefillChunk: 1 },
      ["scheduled", "finish"],
    ],
    [
      "having its prompt scored",
      { prompt: promptOf(1, 250), maxTokens: 9, promptLogprobs: 0, adapter: "prompt" },
      { prefillChunk: 1 },
      ["scheduled", "finish"],
    ],
  ];
  test.each(cases)("%s", (_, over, options, events) =>
    withEngine(async (engine) => {
      const running = answerOf(engine.submit(long));
      const controller = new AbortController();
      const answer = answerOf(engine.submit(request({ ...over, signal: controller.signal })));
      const rows = events.includes("scheduled") ? 2 : 1;
      await until(async () => (await engine.stats()).running === rows);
      controller.abort();
      const { end, events: seen } = await answer;
      expect(end.reason).toBe("cancelled");
      expect(seen.map(({ type }) => type)).toEqual(events);
      const stats = await engine.stats();
      expect(stats).toMatchObject({ waiting: 0, running: 1, waitingAdapters: {}, runningAdapters: {} });
      expect((await running).ids).toEqual(alone.ids);
    }, options),
  );

  test("writing, by its signal", () =>
    withEngine(async (engine) => {
      const running = answerOf(engine.submit(long));
      const controller = new AbortController();
      let tokens = 0;
      const one = { ...long, prompt: [3], adapter: "prompt", signal: controller.signal };
      let usage: object | undefined;
      for await (const event of engine.submit(one)) {
        if (event.type === "token" && ++tokens === 5) controller.abort();
        if (event.type === "finish") usage = { reason: event.reason, written: event.usage.completionTokens };
      }
      expect(usage).toEqual({ reason: "cancelled", written: tokens });
      expect(tokens).toBeLessThan(50);
      expect((await running).ids).toEqual(alone.ids);
    }));

  test("writing, by a client that leaves", () =>
    withEngine(async (engine) => {
      for await (const event of engine.submit({ ...long, adapter: "prompt" }))
        if (event.type === "token") break;
      await until(async () => (await engine.stats()).running === 0);
      expect((await engine.stats()).completionTokens).toBeLessThan(50);
    }));

  test("before anybody reads its events", () =>
    withEngine(async (engine) => {
      const controller = new AbortController();
      const events = engine.submit({ ...long, signal: controller.signal });
      await until(async () => (await engine.stats()).running === 1);
      controller.abort();
      await until(async () => (await engine.stats()).running === 0);
      expect((await answerOf(events)).end.reason).toBe("cancelled");
      const late = engine.submit({ ...long, signal: controller.signal });
      expect((await answerOf(late)).events.map(({ type }) => type)).toEqual(["finish"]);
    }));
});

describe("refusals", () => {
  test("are thrown at once, with a code each; what only loading tells comes from the iteration", () =>
    withEngine(async (engine) => {
      const codeOf = (over: Partial<EngineRequest>) => thrownBy(() => engine.submit(request(over)));
      expect(codeOf({ prompt: [] })).toBe("bad_data");
      expect(codeOf({ prompt: [48] })).toBe("bad_data");
      expect(codeOf({ maxTokens: 398 })).toBe("bad_option");
      expect(codeOf({ stop: [""] })).toBe("bad_option");
      expect(codeOf({ sampling: { temperature: -1 } })).toBe("bad_option");
      expect(await refusalOf(() => engine.submit(request({ adapter: "nobody" })))).toBe("not_found");
      expect(await refusalOf(() => engine.submit(request()))).toBe("answered");
    }));

  test("of those that wait too many are each tenant's own", () =>
    withEngine(
      async (engine) => {
        const runs = engine.submit({ ...long, tenant: "a" });
        await until(async () => (await engine.stats()).running === 1);
        const codes = Array.from({ length: 4 }, () =>
          refusalOf(() => engine.submit(request({ tenant: "a" }))),
        );
        const other = refusalOf(() => engine.submit(request({ tenant: "b" })));
        expect((await engine.stats()).waiting).toBe(3);
        expect(await Promise.all(codes.slice(2))).toEqual(["busy", "busy"]);
        expect((await answerOf(runs)).ids).toEqual(alone.ids);
        expect(await Promise.all(codes.slice(0, 2))).toEqual(["answered", "answered"]);
        expect(await other).toBe("answered");
      },
      { maxBatch: 1, maxWaiting: 2 },
    ));

  test("of those that wait too many end as soon as one of them is cancelled", () =>
    withEngine(
      async (engine) => {
        const controller = new AbortController();
        const answers = [{ ...long, signal: controller.signal }, request({ signal: controller.signal })].map(
          (one) => answerOf(engine.submit(one)),
        );
        expect(thrownBy(() => engine.submit(request()))).toBe("busy");
        controller.abort();
        const next = answerOf(engine.submit(request()));
        expect((await Promise.all(answers)).map(({ end }) => end.reason)).toEqual(["cancelled", "cancelled"]);
        expect((await next).end.reason).not.toBe("cancelled");
      },
      { maxBatch: 1, maxWaiting: 1 },
    ));

  test("who finds a free row does not count as waiting, though all come in one moment", () =>
    withEngine(
      async (engine) => {
        const codes = Array.from({ length: 6 }, () => refusalOf(() => engine.submit(request())));
        expect(await Promise.all(codes)).toEqual([...Array(5).fill("answered"), "busy"]);
      },
      { maxBatch: 4, maxWaiting: 1 },
    ));

  test("names that every object has are names like others in the counts", () =>
    withEngine(async (engine) => {
      const codes = ["constructor", "__proto__"].map((adapter) =>
        refusalOf(() => engine.submit(request({ adapter }))),
      );
      const { waitingAdapters } = await engine.stats();
      expect(Object.entries(waitingAdapters)).toEqual([
        ["constructor", 1],
        ["__proto__", 1],
      ]);
      expect(await Promise.all(codes)).toEqual(["not_found", "not_found"]);
    }));
});

describe("draining", () => {
  test("takes nothing more and ends behind the last answer, however often it is asked for", () =>
    withEngine(
      async (engine) => {
        const answers = ["late", "prompt", null].map((adapter) => {
          let isDone = false;
          const answer = answerOf(engine.submit(request({ adapter, maxTokens: 30 }))).then((found) => {
            isDone = true;
            return found;
          });
          return { answer, isDone: () => isDone };
        });
        const drains = [engine.drain(), engine.drain()];
        expect(await refusalOf(() => engine.submit(request()))).toBe("busy");
        await Promise.all(drains);
        expect(answers.map(({ isDone }) => isDone())).toEqual([true, true, true]);
        await engine.drain();
      },
      { maxBatch: 1 },
    ));

  test("ends with the engine too", async () => {
    const engine = await tinyEngine(memoryAdapters(adapters), { maxLength: 400 });
    const answer = answerOf(engine.submit(long));
    const drained = engine.drain();
    await engine[Symbol.asyncDispose]();
    await drained;
    await engine.drain();
    expect((await answer).end.reason).toBe("cancelled");
  });
});

test("disposing cancels what runs, loads and waits", async () => {
  const manager = memoryAdapters(adapters, (name) => (name === "late" ? 50 : 0));
  const engine = await tinyEngine(manager, { maxBatch: 2, maxLength: 400 });
  const all = [null, "prompt", "late", null].map((adapter) => answerOf(engine.submit({ ...long, adapter })));
  await until(async () => (await engine.stats()).completionTokens > 3);
  await Promise.all([engine[Symbol.asyncDispose](), engine[Symbol.asyncDispose]()]);
  for (const answer of all) expect((await answer).end.reason).toBe("cancelled");
  expect(await refusalOf(() => engine.submit(request()))).toBe("busy");
  await expect.poll(() => manager.leases()).toBe(0);
});

test("a step that fails ends those that run, and the next ones get their answers", async () => {
  let left = 60;
  const widths: number[] = [];
  const options: TinyEngineOptions = {
    maxBatch: 2,
    maxLength: 400,
    wrap: (program) => ({
      ...program,
      run: (step) => {
        if (left-- === 0) return Promise.reject(new Error("out of memory"));
        if (left < 0) widths.push(step.count);
        return program.run(step);
      },
    }),
  };
  await withEngine(async (engine, manager) => {
    const failures = [null, "prompt"].map((adapter) =>
      answerOf(engine.submit({ ...long, adapter })).catch((error: unknown) => error),
    );
    await until(async () => (await engine.stats()).running === 2);
    const answer = answerOf(engine.submit(long));
    for (const failure of await Promise.all(failures)) {
      expect(failure).toBeInstanceOf(MosError);
      expect(failure).toMatchObject({ code: "device", message: expect.stringContaining("out of memory") });
    }
    expect((await answer).ids).toEqual(alone.ids);
    expect(Math.max(...widths), "rows of those that failed").toBe(1);
    expect(manager.leases()).toBe(0);
    expect((await engine.stats()).running).toBe(0);
  }, options);
});
