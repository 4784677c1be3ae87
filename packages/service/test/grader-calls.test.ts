// What graders of jobs ask models: by the database, in the name of their tenant, within its key's limits.
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { answerGraderCalls } from "../src/answer-calls.ts";
import { type Ask, createAsker } from "../src/worker/ask.ts";
import { databases, openTables, type TestTables } from "./databases.ts";
import { makeServer, type TestServer } from "./server.ts";

const request = { model: "base", messages: [{ role: "user", content: "Score this" }] };
const never = new AbortController().signal;

describe.each(databases)("%s", (_, open) => {
  let opened: TestTables;
  let server: TestServer;
  let ask: Ask;
  let stopping: AbortController;
  let answering: Promise<void>;
  const warnings: object[] = [];

  const asked = (tenant: string, body: object = request, signal = never) =>
    ask({ tenant, model: "base" }, body, signal);
  const answer = async () => {
    stopping = new AbortController();
    answering = answerGraderCalls({
      ...{ app: server.app, calls: opened.stores.graderCalls, base: "base", signal: stopping.signal },
      log: { warn: (fields) => void warnings.push(fields) },
    });
  };
  const stop = async () => {
    stopping.abort();
    await answering;
  };
  const count = async () =>
    Number((await opened.database.query("select count(*) from grader_calls"))[0]?.["count"]);

  beforeAll(async () => {
    opened = await openTables(open);
    server = await makeServer({
      keys: {
        find: async () => undefined,
        ofTenant: async (name) =>
          name === "nobody"
            ? []
            : [
                { name, isAdmin: false, expiresAt: 1, mayUse: () => true },
                { name, isAdmin: false, mayUse: () => false, maxConcurrent: name === "slow" ? 1 : 9 },
              ],
      },
    });
  });
  afterAll(async () => {
    await opened[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    ask = createAsker(opened.stores.graderCalls);
    await answer();
  });
  afterEach(async () => {
    await stop();
    expect([await count(), warnings]).toEqual([0, []]);
  });

  test("a model of the server answers, and its tenant is charged", async () => {
    const before = server.log.length;
    const given = await asked("acme");
    expect(given).toMatchObject({ value: { model: "base", choices: [{ message: { role: "assistant" } }] } });
    expect(server.log.slice(before)).toMatchObject([
      { fields: { key: "acme", path: "/v1/chat/completions", status: 200 } },
    ]);
  });

  test("the limits of a key are waited for", async () => {
    const given = await Promise.all([asked("slow"), asked("slow"), asked("slow")]);
    for (const one of given) expect(one).toMatchObject({ value: { object: "chat.completion" } });
    expect(server.log.some(({ fields }) => fields["key"] === "slow" && fields["status"] === 429)).toBe(true);
  });

  test("what cannot be answered is an error", async () => {
    const model = "ft:base:bolt::x";
    expect(await asked("acme", { ...request, model })).toEqual({ error: expect.stringContaining(model) });
    expect(await asked("nobody")).toEqual({ error: expect.stringContaining("nobody has no valid API key") });
    expect(await asked("acme", { model: "base" })).toEqual({ error: expect.stringContaining("messages") });
  });

  test("without a server there is an end, and one that stops leaves the request to another", async () => {
    await stop();
    ask = createAsker(opened.stores.graderCalls, { waitSeconds: 0.5 });
    expect(await asked("acme")).toEqual({ error: "no server answered within 0.5 s" });
    ask = createAsker(opened.stores.graderCalls);
    const leaving = new AbortController();
    const left = asked("acme", request, leaving.signal);
    const kept = asked("acme");
    leaving.abort();
    expect(await left).toHaveProperty("error");
    await answer();
    await sleep(0);
    await stop();
    await answer();
    expect(await kept).toHaveProperty("value");
  });

  test("each tenant has its turn, servers of another base have none, and nothing is claimed twice", async () => {
    await stop();
    const { graderCalls } = opened.stores;
    for (let i = 0; i < 20; i++) await graderCalls.ask({ tenant: "acme", model: "base" }, request);
    await graderCalls.ask({ tenant: "bolt", model: "base" }, request);
    expect(await graderCalls.claim("other", 16)).toEqual([]);
    const [first, second] = [await graderCalls.claim("base", 3), await graderCalls.claim("base", 16)];
    expect(first.map(({ tenant }) => tenant).sort()).toEqual(["acme", "acme", "bolt"]);
    expect(second.map(({ tenant }) => tenant)).toEqual(Array.from({ length: 6 }, () => "acme"));
    expect(await graderCalls.claim("base", 16)).toEqual([]);
    await graderCalls.postpone(first[0]?.id ?? "", 0);
    expect((await graderCalls.claim("base", 16)).map(({ id }) => id)).toEqual([first[0]?.id]);
    await opened.database.query("update grader_calls set created_at = now() - interval '1 hour'");
    await graderCalls.removeOld();
  });
});
