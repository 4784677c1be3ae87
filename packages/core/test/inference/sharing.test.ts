// What requests share without affecting each other: the queue, slots, and memory for adapters.
import { describe, expect, test } from "vitest";
import type { ExpandedFactors } from "#adapters";
import { MosError, randomStream } from "#common";
import type { Engine, EngineRequest } from "#inference";
import type { AdapterManager } from "../../src/inference/adapters/manager.ts";
import { AdapterSlots } from "../../src/inference/slots.ts";
import { type MemoryAdapters, memoryAdapters } from "./memory-adapters.ts";
import {
  type Answer,
  catchRefusal,
  collectAnswer,
  config,
  randomFactors,
  randomPrompt,
  request,
  type TinyEngineOptions,
  tinyEngine,
  until,
} from "./tiny-engine.ts";

const RANKS = [1, 2, 3, 4, 5];
const adapters = new Map(
  await Promise.all(
    RANKS.map(async (rank) => [`rank ${rank}`, await randomFactors(rank, { method: "lora", rank })] as const),
  ),
);
const perRank = new AdapterSlots(config).bytesPerRank;

interface Options extends TinyEngineOptions {
  readonly manager?: (manager: MemoryAdapters) => AdapterManager;
}

async function withEngine<T>(work: (engine: Engine) => Promise<T>, options: Options = {}): Promise<T> {
  const { manager: change = (same) => same, ...rest } = options;
  const manager = memoryAdapters(adapters);
  await using engine = await tinyEngine(change(manager), { maxLength: 400, ...rest });
  const result = await work(engine);
  await until(() => manager.leases() === 0);
  return result;
}

const collectAnswers = (
  requests: readonly EngineRequest[],
  options: Options = {},
): Promise<readonly Answer[]> =>
  withEngine((engine) => Promise.all(requests.map((one) => collectAnswer(engine.submit(one)))), options);

const aloneAnswers = (requests: readonly EngineRequest[]): Promise<readonly Answer[]> =>
  collectAnswers(requests, { maxBatch: 1 });

const ids = (answers: readonly Answer[]) => answers.map((answer) => answer.ids);

describe("tenants are served fairly:", () => {
  test("a flood does not delay another tenant by more than about a batch", () =>
    withEngine(
      async (engine) => {
        const order: string[] = [];
        const send = async (tenant: string): Promise<void> => {
          await collectAnswer(engine.submit(request({ tenant, ignoreEos: true })));
          order.push(tenant);
        };
        const flood = Array.from({ length: 20 }, () => send("flood"));
        await until(() => order.length > 3);
        const before = order.length;
        await send("single");
        expect(order.indexOf("single") - before).toBeLessThanOrEqual(4);
        await Promise.all(flood);
        expect(order).toHaveLength(21);
      },
      { maxBatch: 2 },
    ));

  test("a tenant that had the engine to itself is not made to wait for it later", () =>
    withEngine(
      async (engine) => {
        for (let i = 0; i < 10; i++)
          await collectAnswer(engine.submit({ ...request(), tenant: "old", maxTokens: 50 }));
        const order: string[] = [];
        const send = async (tenant: string): Promise<void> => {
          await collectAnswer(engine.submit(request({ tenant, ignoreEos: true })));
          order.push(tenant);
        };
        const flood = Array.from({ length: 30 }, () => send("new"));
        await until(() => order.length > 3);
        const before = order.length;
        await send("old");
        expect(order.indexOf("old") - before).toBeLessThan(12);
        await Promise.all(flood);
      },
      { maxBatch: 1 },
    ));
});

describe("slots", () => {
  test("grow and shrink with the ranks of their adapters, within the memory limit", async () => {
    const requests = Array.from({ length: 20 }, (_, i) => {
      const random = randomStream(i, "slots");
      const rank = random.below(RANKS.length + 1);
      return request({
        prompt: randomPrompt(i, 1 + random.below(5)),
        adapter: rank === 0 ? null : `rank ${rank}`,
        maxTokens: 1 + random.below(random.below(3) === 0 ? 60 : 6),
        ignoreEos: true,
      });
    });
    const alone = await aloneAnswers(requests);
    for (const slots of [5, 12])
      expect(ids(await collectAnswers(requests, { maxBatch: 6, slotMemory: slots * perRank }))).toEqual(
        ids(alone),
      );
  });

  test("become fewer and larger while a high slot is in use", async () => {
    const short = Array.from({ length: 5 }, (_, i) =>
      request({ prompt: [i], maxTokens: 4, ignoreEos: true }),
    );
    // it is loading while the short ones take the slots below
    const long = request({ prompt: [9], maxTokens: 60, ignoreEos: true, adapter: "rank 1" });
    const large = request({ prompt: [7], maxTokens: 9, ignoreEos: true, adapter: "rank 3" });
    const all = [long, ...short, large];
    const answers = await collectAnswers(all, { maxBatch: 6, slotMemory: 6 * perRank });
    expect(ids(answers)).toEqual(ids(await aloneAnswers(all)));
  });

  test("too small for an adapter refuse only its requests", () =>
    withEngine(
      async (engine) => {
        let isDone = false;
        const long = collectAnswer(engine.submit(request({ maxTokens: 200, ignoreEos: true }))).then(
          (answer) => {
            isDone = true;
            return answer;
          },
        );
        await until(async () => (await engine.stats()).running === 1);
        const tooLarge = catchRefusal(() => engine.submit(request({ adapter: "rank 5" })));
        const behind = collectAnswer(engine.submit(request()));
        expect(await tooLarge).toBe("bad_option");
        expect(isDone).toBe(false);
        expect((await behind).end.finishReason).toBe("length");
        await long;
        // also where the engine is idle
        const codes = [{ adapter: "rank 5" }, { adapter: "rank 5" }, {}].map((over) =>
          catchRefusal(() => engine.submit(request(over))),
        );
        expect(await Promise.all(codes)).toEqual(["bad_option", "bad_option", "answered"]);
      },
      { slotMemory: 4 * perRank, maxBatch: 2 },
    ));
});

describe("an adapter that fails", () => {
  test("while it is loaded or expanded, fails its own requests only", async () => {
    const good = RANKS.slice(0, 4).map((rank) =>
      request({ adapter: `rank ${rank}`, maxTokens: 30, ignoreEos: true }),
    );
    const broken = (manager: MemoryAdapters): AdapterManager => ({
      ...manager,
      async acquire(name) {
        if (name === "no file") throw new MosError("bad_adapter", "no file");
        const lease = await manager.acquire(name);
        if (name !== "rank 5") return lease;
        const expand = (): never => {
          throw new MosError("bad_adapter", "a table points nowhere");
        };
        return { ...lease, expand };
      },
    });
    const alone = await aloneAnswers(good);
    await withEngine(
      async (engine) => {
        const codes: Promise<string>[] = [];
        const answers = good.map((one) => {
          for (const adapter of ["rank 5", "no file"])
            codes.push(catchRefusal(() => engine.submit(request({ adapter }))));
          return collectAnswer(engine.submit(one));
        });
        expect(ids(await Promise.all(answers))).toEqual(ids(alone));
        expect(new Set(await Promise.all(codes))).toEqual(new Set(["bad_adapter"]));
      },
      { maxBatch: 3, manager: broken },
    );
  });

  test.each([
    ["gives infinite numbers", 1e38, ["q_proj", "k_proj", "v_proj", "o_proj", "up_proj"]],
    ["gives keys larger than any mask", 1e18, ["k_proj"]],
  ])("because it %s leaves nothing in its slot", async (_, size, targets) => {
    const honest = await randomFactors(9, { method: "lora", rank: 1, targets });
    const poison = new Map<string, ExpandedFactors>(
      [...honest].map(([site, { a, b, ...rest }]) => [
        site,
        { ...rest, a: a.map((x) => size * x), b: b.map((x) => size * x) },
      ]),
    );
    const manager = memoryAdapters(new Map([...adapters, ["poison", poison]]));
    await using engine = await tinyEngine(manager, { maxBatch: 1 });
    const after = request({ prompt: randomPrompt(3, 4), maxTokens: 9, ignoreEos: true, adapter: "rank 2" });
    const [alone] = await aloneAnswers([after]);
    for (const prompt of [randomPrompt(1, 20), randomPrompt(2, 9)]) {
      await catchRefusal(() => engine.submit(request({ prompt, adapter: "poison", maxTokens: 20 })));
      expect((await collectAnswer(engine.submit(after))).ids).toEqual(alone?.ids);
    }
  });
});

describe("where memory for adapters is short", () => {
  /** Room for adapters whose ranks add up to `limit`. */
  const scarce =
    (limit: number) =>
    (manager: MemoryAdapters): AdapterManager => {
      let used = 0;
      return {
        ...manager,
        async acquire(name) {
          const lease = await manager.acquire(name);
          if (used + lease.rank > limit) {
            lease[Symbol.dispose]();
            throw new MosError("busy", "pinned adapters leave no room");
          }
          used += lease.rank;
          let isHeld = true;
          return {
            ...lease,
            [Symbol.dispose]() {
              if (isHeld) used -= lease.rank;
              isHeld = false;
              lease[Symbol.dispose]();
            },
          };
        },
      };
    };

  test("requests wait for it and get their answers", async () => {
    const requests = Array.from({ length: 20 }, (_, i) =>
      request({ adapter: `rank ${1 + (i % 5)}`, prompt: randomPrompt(i, 3), ignoreEos: true }),
    );
    const alone = await aloneAnswers(requests);
    for (const limit of [5, 8])
      expect(ids(await collectAnswers(requests, { manager: scarce(limit) }))).toEqual(ids(alone));
  });

  test("an adapter that never fits is refused", async () => {
    const codes = await withEngine(
      (engine) =>
        Promise.all(
          [5, 1, 2, 5].map((rank) => catchRefusal(() => engine.submit(request({ adapter: `rank ${rank}` })))),
        ),
      { manager: scarce(4) },
    );
    expect(codes).toEqual(["busy", "answered", "answered", "busy"]);
  });

  test("small adapters that keep coming do not keep a large one out", () =>
    withEngine(
      async (engine) => {
        let isDone = false;
        let others = 0;
        const keepComing = async (tenant: string): Promise<void> => {
          // of different lengths, so that they do not end together
          for (let i = 1; !isDone && others < 500; i++) {
            const maxTokens = 1 + ((7 * i + 13 * tenant.charCodeAt(0)) % 29);
            const one = request({ tenant, adapter: "rank 1", maxTokens, ignoreEos: true });
            await collectAnswer(engine.submit(one));
            others++;
          }
        };
        const crowd = [..."abcdefgh"].map(keepComing);
        await until(() => others > 3);
        const large = request({ tenant: "large", adapter: "rank 5", ignoreEos: true });
        const answer = await collectAnswer(engine.submit(large));
        isDone = true;
        expect(answer.end.finishReason).toBe("length");
        expect(others).toBeLessThan(30);
        await Promise.all(crowd);
      },
      { manager: scarce(5), maxBatch: 4 },
    ));
});
