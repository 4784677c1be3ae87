// GET /v1/system: the server at one moment.

import { MosError } from "mixture-of-shards-core/common";
import { describe, expect, test } from "vitest";
import { type ApiKey, openApp } from "../src/index.ts";
import { makeServer } from "./harness.ts";

const training = {
  workers: [
    {
      name: "w",
      models: ["base"],
      version: "1",
      started_at: 1,
      seen_at: 2,
      is_alive: true,
      job: { id: "ftjob-1", tenant: "acme", model: "base", step: 3, steps: null },
    },
  ],
  queue: [{ tenant: "acme", queued: 0, held: 1, running: 1, paused: 0, oldest_seconds: 0 }],
};

test("it has what the engine counts, by the names of the metrics' sources", async () => {
  let now = 1_700_000_000_000;
  await using server = await makeServer({
    engine: { adapters: ["acme"] },
    server: {
      now: () => now,
      extension: { routes: () => undefined, health: { training: async () => training } },
    },
  });
  await server.send("/v1/completions", { model: "base", prompt: "x", max_tokens: 5 });
  now += 2500;
  const { status, json } = await server.send("/v1/system");
  expect(status).toBe(200);
  const { version } = (await import("../../../package.json", { with: { type: "json" } })).default;
  const history = [...Array<number>(57).fill(0), 0, 5, 0].slice(-60);
  expect(json).toEqual({
    object: "system",
    version,
    model: "base",
    started_at: 1_700_000_000,
    uptime_seconds: 2.5,
    batch: { slots: 16, active: 0, prefilling: 0, adapters: { acme: 1, zeta: 2 } },
    queue: { waiting: 1, tenants: { acme: 1 } },
    tokens_per_second: 0.5,
    token_history: history,
    tokens: { prompt: 100, cached: 20, completion: 50 },
    memory: {
      base_bytes: null,
      cache: { bytes: 400, used_bytes: 300, limit_bytes: 800 },
      adapters: { registered: 1, resident: 1, bytes: 1000, limit_bytes: 2000 },
      active_adapters: { active: 1, bytes: 500, limit_bytes: 600 },
      grammars: { resident: 2, bytes: 300 },
      processes: [
        { name: "server", bytes: expect.any(Number) },
        { name: "engine", bytes: 9000 },
      ],
    },
    caches: { adapters: { hits: 3, misses: 2, evictions: 1 }, grammars: { hits: 2, compiled: 3 } },
    training,
  });
});

test("where there are keys it is for administrators, as it names all tenants", async () => {
  const keys = {
    find: async (token: string): Promise<ApiKey> => ({
      name: token,
      isAdmin: token === "operator",
      mayUse: () => true,
    }),
  };
  await using server = await makeServer({ server: { keys } });
  const ask = (token: string) => server.send("/v1/system", undefined, { authorization: `Bearer ${token}` });
  expect((await ask("operator")).status).toBe(200);
  const { status, json } = await ask("acme");
  expect([status, json.error.code]).toEqual([403, "admin_key_required"]);
});

describe("without training", () => {
  const away = async () => Promise.reject(new MosError("network", "PostgreSQL cannot be reached"));
  const hangs = () => new Promise<never>(() => undefined);
  test.each([
    ["on a server without jobs", undefined],
    ["while the database is away", { routes: () => undefined, health: { training: away } }],
    ["while the database hangs", { routes: () => undefined, health: { training: hangs } }],
  ])("%s the rest is there", async (_, extension) => {
    await using server = await makeServer({ server: { extension } });
    const { status, json } = await server.send("/v1/system");
    expect([status, json.training, json.batch.slots]).toEqual([200, null, 16]);
  });
});

test("a real engine's memory is within its limits, and an answer shows in the counts", async () => {
  await using app = await openApp({ model: "assets/tiny-english" });
  const jsonOf = async (request: Request) => JSON.parse(await (await app.fetch(request)).text());
  const system = () => jsonOf(new Request("http://localhost/v1/system"));
  const before = await system();
  expect(before.memory.base_bytes).toBeGreaterThan(1e6);
  expect(before.memory.processes.map(({ name }: { name: string }) => name)).toContain("server");
  const body = JSON.stringify({ model: app.modelName, prompt: "The cat", max_tokens: 4 });
  const headers = { "content-type": "application/json" };
  const { usage } = await jsonOf(
    new Request("http://localhost/v1/completions", { method: "POST", body, headers }),
  );
  const after = await system();
  expect(after.tokens.completion - before.tokens.completion).toBe(usage.completion_tokens);
  const { cache } = after.memory;
  expect(cache.used_bytes).toBeGreaterThan(0);
  expect(cache.bytes).toBeGreaterThanOrEqual(cache.used_bytes);
  expect(cache.limit_bytes).toBeGreaterThanOrEqual(cache.bytes);
});
