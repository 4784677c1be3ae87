// Keys of jobs' trainers: for chat completions in the name of their tenant, until their slice is over.
import { request } from "node:http";
import { text } from "node:stream/consumers";
import { MosError } from "mixture-of-shards";
import type { ServerExtension } from "mixture-of-shards/server";
import { openChatClient } from "mixture-of-shards-core/data";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { type JobRow, modelTenant, openSlices } from "#store";
import { openLocalModels } from "../src/service.ts";
import { databases, openTables, type TestTables } from "./databases.ts";
import { queueJob, untilDue } from "./queued-job.ts";
import { makeServer, type TestServer } from "./server.ts";

const chat = { model: "base", messages: [{ role: "user", content: "Score this" }] };
const PATH = "/v1/chat/completions";

describe.each(databases)("%s", (_, open) => {
  let opened: TestTables;
  let server: TestServer;
  beforeAll(async () => {
    opened = await openTables(open);
    const extension: ServerExtension = {
      routes: () => undefined,
      models: {
        access: (name, key) => {
          const tenant = modelTenant(name);
          if (tenant === undefined) return undefined;
          return key.isAdmin || tenant === key.name ? "use" : "none";
        },
        use: () => undefined,
        fetch: async () => true,
        resolve: async () => undefined,
        describe: async () => ({ aliases: [], models: new Map() }),
      },
      jobTenant: opened.stores.jobKeys.tenant,
    };
    server = await makeServer({
      extension,
      look: async () => ["ft:base:acme::x", "ft:base:bolt::x"],
      keys: {
        find: async () => undefined,
        ofTenant: async (name) =>
          name === "nobody"
            ? []
            : [
                { name, isAdmin: true, expiresAt: 1, mayUse: () => true },
                { name, isAdmin: true, mayUse: () => true, maxConcurrent: 1 },
              ],
      },
    });
  });
  afterAll(() => opened[Symbol.asyncDispose]());

  /** A running slice of a tenant, and its key. */
  async function claim(tenant = "acme"): Promise<{ readonly job: JobRow; readonly key: string }> {
    const slices = openSlices(opened.database);
    await queueJob(opened, { tenant });
    const job = await untilDue(() => slices.claim("tiny", "w"));
    onTestFinished(async () => void (await slices.end(job, { type: "failed", code: "x", message: "x" })));
    return { job, key: (await slices.issueKey(job)) ?? "" };
  }
  const send = (key: string, body: object = chat, path = PATH) =>
    server.send(path, body, { authorization: `Bearer ${key}` });

  test("a model answers in the name of the tenant, who is charged", async () => {
    const { key } = await claim();
    const before = server.log.length;
    expect(await send(key)).toMatchObject({ status: 200, json: { object: "chat.completion" } });
    expect(server.log.slice(before)).toMatchObject([{ fields: { key: "acme", path: PATH, status: 200 } }]);
    expect(JSON.stringify(server.log)).not.toContain(key);
  });

  test("it is for the tenant's models alone, also of a tenant who is an administrator, and for nothing else", async () => {
    const { key } = await claim();
    expect((await send(key, { ...chat, model: "ft:base:acme::x" })).status).toBe(200);
    expect((await send(key, { ...chat, model: "ft:base:bolt::x" })).status).toBe(404);
    for (const path of ["/v1/models", "/v1/completions", "/v1/fine_tuning/jobs", `${PATH}/`])
      expect((await send(key, chat, path)).status, path).toBe(403);
  });

  test("it ends with the slice, and with the lease on it", async () => {
    const slices = openSlices(opened.database);
    const { job, key } = await claim();
    await opened.database.query("update jobs set lease_until = now() where id = $1", [job.id]);
    expect((await send(key)).status).toBe(401);
    await slices.renew(job);
    expect((await send(key)).status).toBe(200);
    await slices.end(job, { type: "interrupted", message: "" });
    expect((await send(key)).status).toBe(401);
    const again = await untilDue(() => slices.claim("tiny", "w"));
    expect((await send(key)).status).toBe(401);
    expect(await slices.issueKey(job)).toBeUndefined();
    expect((await send((await slices.issueKey(again)) ?? "")).status).toBe(200);
    expect((await send(key)).status).toBe(401);
    await slices.end(again, { type: "failed", code: "x", message: "x" });
  });

  test("a tenant without a valid key is refused", async () => {
    const { key } = await claim("nobody");
    const { status, json } = await send(key);
    expect([status, json.error.message]).toEqual([
      401,
      expect.stringContaining("nobody has no valid API key"),
    ]);
  });

  test("the trainers of a server's own workers ask by HTTP, and wait for the limits of the key", async () => {
    const { key } = await claim();
    await using models = await openLocalModels((request) => server.app.fetch(request));
    const ask = openChatClient({ url: models.url, key, sleep: async () => undefined });
    const answers = await Promise.all([ask(chat), ask(chat), ask(chat)]);
    for (const { choices } of answers) expect(choices).toHaveLength(1);
    expect(server.log.some(({ fields }) => fields["status"] === 429)).toBe(true);
    const wrong = openChatClient({ url: models.url, key: "mos-job-none" });
    await expect(wrong(chat)).rejects.toThrow(MosError);
  });
});

test("the server is told by which name it was called, which may be that of a page whose name was pointed at this machine", async () => {
  await using models = await openLocalModels(({ url }) => new Response(url));
  const called = (host: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const headers = { host, "content-type": "application/json" };
      request(models.url, { method: "POST", headers }, (answer) => resolve(text(answer)))
        .on("error", reject)
        .end("{}");
    });
  expect(await called("evil.example:1")).toBe(`http://evil.example:1${PATH}`);
  expect(await called("no host")).toContain("invalid request URL or host");
});
