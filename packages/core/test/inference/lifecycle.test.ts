// How requests end: cancelled in any state, refused, drained, or with the engine.
import { describe, expect, test } from "vitest";
import { MosError } from "#common";
import type { Engine, EngineRequest } from "#inference";
import { memoryAdapters } from "./memory-adapters.ts";
import {
  catchRefusal,
  collectAnswer,
  randomFactors,
  randomPrompt,
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

/** A manager whose adapter `late` has loaded once that is called. */
function lateAdapters() {
  let finishLoading = (): void => undefined;
  const loaded = new Promise<void>((resolve) => {
    finishLoading = resolve;
  });
  const manager = memoryAdapters(adapters, (name) => (name === "late" ? loaded : undefined));
  return { manager, finishLoading };
}

async function withEngine<T>(
  work: (engine: Engine, late: ReturnType<typeof lateAdapters>) => Promise<T>,
  options: TinyEngineOptions = {},
): Promise<T> {
  const late = lateAdapters();
  await using engine = await tinyEngine(late.manager, { maxLength: 400, ...options });
  const result = await work(engine, late);
  late.finishLoading();
  await until(() => late.manager.leases() === 0);
  return result;
}

const alone = await withEngine((engine) => collectAnswer(engine.submit(long)));

describe("a request can be cancelled in any state without effect on others:", () => {
  const cases: readonly (readonly [string, Partial<EngineRequest>, TinyEngineOptions, string[]])[] = [
    ["waiting for a slot", {}, { maxBatch: 1 }, ["finish"]],
    ["loading its adapter", { adapter: "late" }, {}, ["finish"]],
    [
      "prefilling",
      { prompt: randomPrompt(1, 250), maxTokens: 9 },
      { prefillChunk: 1 },
      ["scheduled", "finish"],
    ],
    [
      "scoring its prompt",
      { prompt: randomPrompt(1, 250), maxTokens: 9, promptLogprobs: 0, adapter: "prompt" },
      { prefillChunk: 1 },
      ["scheduled", "finish"],
    ],
  ];
  test.each(cases)("%s", (_, over, options, events) =>
    withEngine(async (engine) => {
      const running = collectAnswer(engine.submit(long));
      const controller = new AbortController();
      const answer = collectAnswer(engine.submit(request({ ...over, signal: controller.signal })));
      const rows = events.includes("scheduled") ? 2 : 1;
      await until(async () => (await engine.stats()).running === rows);
      controller.abort();
      const { end, events: seen } = await answer;
      expect(end.finishReason).toBe("cancelled");
      expect(seen.map(({ type }) => type)).toEqual(events);
      const stats = await engine.stats();
      expect(stats).toMatchObject({ waiting: 0, running: 1, waitingAdapters: {}, runningAdapters: {} });
      expect((await running).ids).toEqual(alone.ids);
    }, options),
  );

  test("decoding, by its signal", () =>
    withEngine(async (engine) => {
      const running = collectAnswer(engine.submit(long));
      const controller = new AbortController();
      let tokens = 0;
      const one = { ...long, prompt: [3], adapter: "prompt", signal: controller.signal };
      let usage: object | undefined;
      for await (const event of engine.submit(one)) {
        if (event.type === "token" && ++tokens === 5) controller.abort();
        if (event.type === "finish")
          usage = { reason: event.finishReason, written: event.usage.completionTokens };
      }
      expect(usage).toEqual({ reason: "cancelled", written: tokens });
      expect(tokens).toBeLessThan(50);
      expect((await running).ids).toEqual(alone.ids);
    }));

  test("decoding, by a caller that leaves the loop", () =>
    withEngine(async (engine) => {
      for await (const event of engine.submit({ ...long, adapter: "prompt" }))
        if (event.type === "token") break;
      await until(async () => (await engine.stats()).running === 0);
      expect((await engine.stats()).completionTokens).toBeLessThan(50);
    }));

  test("before its events are consumed", () =>
    withEngine(async (engine) => {
      const controller = new AbortController();
      const events = engine.submit({ ...long, signal: controller.signal });
      await until(async () => (await engine.stats()).running === 1);
      controller.abort();
      await until(async () => (await engine.stats()).running === 0);
      expect((await collectAnswer(events)).end.finishReason).toBe("cancelled");
      const late = engine.submit({ ...long, signal: controller.signal });
      expect((await collectAnswer(late)).events.map(({ type }) => type)).toEqual(["finish"]);
    }));
});

describe("refusals", () => {
  test("are thrown by submit, with a code each; errors of loading come from the iteration", () =>
    withEngine(async (engine) => {
      const refusalCode = (over: Partial<EngineRequest>) => thrownBy(() => engine.submit(request(over)));
      expect(refusalCode({ prompt: [] })).toBe("bad_data");
      expect(refusalCode({ prompt: [48] })).toBe("bad_data");
      expect(refusalCode({ maxTokens: 398 })).toBe("bad_option");
      expect(refusalCode({ stop: [""] })).toBe("bad_option");
      expect(refusalCode({ sampling: { temperature: -1 } })).toBe("bad_option");
      expect(await catchRefusal(() => engine.submit(request({ adapter: "unknown" })))).toBe("not_found");
      expect(await catchRefusal(() => engine.submit(request()))).toBe("answered");
    }));

  test("for a full waiting queue count each tenant's requests separately", () =>
    withEngine(
      async (engine) => {
        const runs = engine.submit({ ...long, tenant: "a" });
        await until(async () => (await engine.stats()).running === 1);
        const codes = Array.from({ length: 4 }, () =>
          catchRefusal(() => engine.submit(request({ tenant: "a" }))),
        );
        const other = catchRefusal(() => engine.submit(request({ tenant: "b" })));
        expect((await engine.stats()).waiting).toBe(3);
        expect(await Promise.all(codes.slice(2))).toEqual(["busy", "busy"]);
        expect((await collectAnswer(runs)).ids).toEqual(alone.ids);
        expect(await Promise.all(codes.slice(0, 2))).toEqual(["answered", "answered"]);
        expect(await other).toBe("answered");
      },
      { maxBatch: 1, maxWaiting: 2 },
    ));

  test("for a full waiting queue end as soon as a waiting request is cancelled", () =>
    withEngine(
      async (engine) => {
        const controller = new AbortController();
        const answers = [{ ...long, signal: controller.signal }, request({ signal: controller.signal })].map(
          (one) => collectAnswer(engine.submit(one)),
        );
        expect(thrownBy(() => engine.submit(request()))).toBe("busy");
        controller.abort();
        const next = collectAnswer(engine.submit(request()));
        expect((await Promise.all(answers)).map(({ end }) => end.finishReason)).toEqual([
          "cancelled",
          "cancelled",
        ]);
        expect((await next).end.finishReason).not.toBe("cancelled");
      },
      { maxBatch: 1, maxWaiting: 1 },
    ));

  test("do not count requests for which a slot is free, even when all are submitted at once", () =>
    withEngine(
      async (engine) => {
        const codes = Array.from({ length: 6 }, () => catchRefusal(() => engine.submit(request())));
        expect(await Promise.all(codes)).toEqual([...Array(5).fill("answered"), "busy"]);
        expect(() => engine.assertCapacity("a", 5)).not.toThrow();
        expect(thrownBy(() => engine.assertCapacity("a", 6))).toBe("busy");
      },
      { maxBatch: 4, maxWaiting: 1 },
    ));

  test("leave adapters named like object members in the counts", () =>
    withEngine(async (engine) => {
      const codes = ["constructor", "__proto__"].map((adapter) =>
        catchRefusal(() => engine.submit(request({ adapter }))),
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
  test("accepts no more requests and ends after the last answer, however often it is called", () =>
    withEngine(
      async (engine, { finishLoading }) => {
        const answers = ["late", "prompt", null].map((adapter) => {
          let isDone = false;
          const answer = collectAnswer(engine.submit(request({ adapter, maxTokens: 30 }))).then((found) => {
            isDone = true;
            return found;
          });
          return { answer, isDone: () => isDone };
        });
        const drains = [engine.drain(), engine.drain()];
        finishLoading();
        expect(await catchRefusal(() => engine.submit(request()))).toBe("busy");
        await Promise.all(drains);
        expect(answers.map(({ isDone }) => isDone())).toEqual([true, true, true]);
        await engine.drain();
      },
      { maxBatch: 1 },
    ));

  test("ends with the engine too", async () => {
    const engine = await tinyEngine(memoryAdapters(adapters), { maxLength: 400 });
    const answer = collectAnswer(engine.submit(long));
    const drained = engine.drain();
    await engine[Symbol.asyncDispose]();
    await drained;
    await engine.drain();
    expect((await answer).end.finishReason).toBe("cancelled");
  });
});

test("disposing cancels running, loading and waiting requests", async () => {
  const { manager, finishLoading } = lateAdapters();
  const engine = await tinyEngine(manager, { maxBatch: 2, maxLength: 400 });
  const all = [null, "prompt", "late", null].map((adapter) =>
    collectAnswer(engine.submit({ ...long, adapter })),
  );
  await until(async () => (await engine.stats()).completionTokens > 3);
  await Promise.all([engine[Symbol.asyncDispose](), engine[Symbol.asyncDispose]()]);
  for (const answer of all) expect((await answer).end.finishReason).toBe("cancelled");
  expect(await catchRefusal(() => engine.submit(request()))).toBe("busy");
  finishLoading();
  await until(() => manager.leases() === 0);
});

test("a failed step ends the running requests, and later ones are answered", async () => {
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
  await withEngine(async (engine, { manager }) => {
    const failures = [null, "prompt"].map((adapter) =>
      collectAnswer(engine.submit({ ...long, adapter })).catch((error: unknown) => error),
    );
    await until(async () => (await engine.stats()).running === 2);
    const answer = collectAnswer(engine.submit(long));
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
