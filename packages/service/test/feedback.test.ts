import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { StoredResponse } from "mixture-of-shards/server";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { addServiceRoutes, type ServiceEnv } from "#api";
import { checkLines } from "../src/worker/check-lines.ts";
import { databases, openTables, type TestTables } from "./databases.ts";
import { makeServer, type TestServer } from "./server.ts";

const stored = (id: string, texts: readonly [string, string], more: Partial<StoredResponse> = {}) =>
  ({
    ...{ id, createdAt: 0, response: { id, model: "tiny", instructions: null } },
    input: [{ id: `in_${id}`, type: "message", role: "user", content: texts[0] }],
    output: [
      {
        ...{ id: `out_${id}`, type: "message", role: "assistant", status: "completed" },
        content: [{ type: "output_text", text: texts[1], annotations: [], logprobs: [] }],
      },
    ],
    ...more,
  }) as StoredResponse;

describe.each(databases)("feedback on %s", (_, open) => {
  let opened: TestTables;
  let server: TestServer;
  beforeAll(async () => {
    opened = await openTables(open);
    const { responses, feedback } = opened.stores;
    server = await makeServer({
      extension: {
        routes: (app) => addServiceRoutes(app, { feedback } as unknown as ServiceEnv),
        responses: responses.within,
      },
      keys: {
        find: async (name) => ({
          ...{ name, isAdmin: false, mayUse: () => true },
          ...(name === "small" ? { limits: { fine_tuning: { max_storage_bytes: 150 } } } : {}),
        }),
      },
    });
  });
  beforeEach(async () => {
    await opened.database.query("delete from responses; delete from feedback");
    const kept = opened.stores.responses.within({ bytes: 100_000, days: 1 });
    const instructions = { id: "a", model: "tiny", instructions: "Be brief." };
    await kept.put("acme", stored("a", ["Hi", "Hello \0!"], { response: instructions }));
    await kept.put("acme", stored("b", ["And now?", "Bye"], { previous: "a" }));
  });
  afterAll(() => opened[Symbol.asyncDispose]());

  const as = (tenant: string) => ({ authorization: `Bearer ${tenant}` });
  const rate = (tenant: string, body: object) => server.send("/v1/feedback", body, as(tenant));
  const exported = async (tenant: string): Promise<string> =>
    (await server.fetch("/v1/feedback/export", { headers: as(tenant) })).text();

  test("an answer that was cut off within the arguments of a call can be rated", async () => {
    const call = { type: "function_call", call_id: "c", name: "weather", arguments: '{"city":"B' };
    const output = [{ ...call, id: "fc_1", status: "incomplete" }] as StoredResponse["output"];
    const kept = opened.stores.responses.within({ bytes: 100_000, days: 1 });
    await kept.put("acme", stored("cut", ["Weather?", ""], { output }));
    expect((await rate("acme", { response_id: "cut", rating: "down" })).status).toBe(200);
  });

  test("ratings and corrections of stored responses are lines of training data", async () => {
    const { status, json } = await rate("acme", { response_id: "a", rating: "up" });
    expect([status, json]).toEqual([
      200,
      {
        ...{ id: "a", object: "feedback", response_id: "a", model: "tiny", rating: "up", correction: null },
        ...{ hint: null, lesson_id: null },
        created_at: expect.any(Number),
      },
    ]);
    await rate("acme", { response_id: "b", rating: "up" });
    await rate("acme", { response_id: "b", rating: "down", correction: "See you" });
    // they outlive what they were said of
    expect(await opened.stores.responses.within({ bytes: 1, days: 1 }).delete("acme", "a")).toBe(true);
    const first = [
      { role: "system", content: "Be brief." },
      { role: "user", content: "Hi" },
    ];
    const whole = [
      { role: "user", content: "Hi" },
      { role: "assistant", content: "Hello \0!" },
      { role: "user", content: "And now?" },
    ];
    const text = await exported("acme");
    expect(
      text
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line)),
    ).toEqual([
      { prompt: first, completion: [{ role: "assistant", content: "Hello \0!" }], label: true },
      { prompt: whole, completion: [{ role: "assistant", content: "Bye" }], label: false },
      { prompt: whole, completion: [{ role: "assistant", content: "See you" }], label: true },
    ]);
    const folder = await mkdtemp(join(tmpdir(), "mos-feedback-"));
    await writeFile(join(folder, "feedback.jsonl"), text);
    expect(await checkLines(join(folder, "feedback.jsonl"), 1)).toEqual([]);
    await rm(folder, { recursive: true });
  });

  test("belong to their tenant, and can be deleted", async () => {
    for (const id of ["a", "b"]) await rate("acme", { response_id: id, rating: "up" });
    expect(await exported("zeta")).toBe("");
    expect(await rate("zeta", { response_id: "b", rating: "up" })).toMatchObject({
      status: 404,
      json: { error: { param: "response_id", message: expect.stringContaining('"b" is not stored') } },
    });
    const remove = (tenant: string) =>
      server.fetch("/v1/feedback/b", { method: "DELETE", headers: as(tenant) }).then(({ status }) => status);
    expect([await remove("zeta"), await remove("acme"), await remove("acme")]).toEqual([404, 200, 404]);
    expect((await exported("acme")).split("\n")).toHaveLength(2);
  });

  test("they count as storage of their key", async () => {
    await opened.stores.responses
      .within({ bytes: 100_000, days: 1 })
      .put("small", stored("c", ["Hi", "Hello"]));
    expect((await rate("small", { response_id: "c", rating: "up" })).status).toBe(200);
    const correction = "x".repeat(100);
    expect(await rate("small", { response_id: "c", rating: "down", correction })).toMatchObject({
      status: 413,
      json: { error: { code: "storage_limit_exceeded", param: "response_id" } },
    });
    expect((await exported("small")).trim()).toMatch(/"label":true}$/);
  });

  test("a rating is up or down", async () => {
    expect(await rate("acme", { response_id: "a", rating: "5" })).toMatchObject({
      status: 400,
      json: { error: { param: "rating" } },
    });
  });
});
