// Aliases and expiry over HTTP, on two servers with one database.
import { EventEmitter, once } from "node:events";
import { mkdtemp, readdir, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { MosError } from "mixture-of-shards";
import { fromFileName, writeFolderAtomic } from "mixture-of-shards-core/files";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Database } from "#database";
import { openObjects } from "#objects";
import { jobRequestSchema, openSlices, openStores, type Stores, toTrainingPlan } from "#store";
import { createExtension, openExpired } from "../src/extension.ts";
import { openPublisher } from "../src/publish.ts";
import { databases, openTables, type TestTables } from "./databases.ts";
import { addTrainingFile, untilDue } from "./queued-job.ts";
import { type Answer, collectAnswer, makeServer, type TestServer } from "./server.ts";

const [V1, V2, V3, OTHERS] = ["ft:base:acme::1", "ft:base:acme::2", "ft:base:acme::3", "ft:base:zeta::9"];
const unreachable = new MosError("network", "PostgreSQL at db:5432 cannot be reached: ECONNREFUSED");

describe.each(databases)("%s", (_, open) => {
  let opened: TestTables;
  let stores: Stores;
  let folder: string;
  let isReachable = true;
  let beforeCommit = async (): Promise<void> => undefined;
  let one: TestServer;
  let two: TestServer;
  const looks: (() => Promise<void>)[] = [];

  const unused = (): never => {
    throw new Error("not used here");
  };

  /** A server with a folder of its own. */
  async function startServer(name: string, database: Database): Promise<TestServer> {
    const adapters = join(folder, name);
    const own = openStores(database);
    const objects = await openObjects(join(folder, "objects"));
    const publisher = await openPublisher(adapters, {
      models: own.models,
      write: (files, path) => writeFolderAtomic(path, (to) => objects.restore(files, to, { link: true })),
      onError: () => undefined,
    });
    const unpublish = (name: string): Promise<void> => publisher.remove(name);
    const expired = openExpired(own.models);
    looks.push(() => expired.refresh());
    const model = { name: "base", shapes: { layers: 1, widths: {} }, hiddenSize: 64, path: "" };
    return makeServer({
      look: async () => {
        const folders = (await readdir(adapters)).filter((each) => !each.startsWith("."));
        return ["plain", ...folders.map(fromFileName)];
      },
      extension: createExtension({
        model,
        checkRun: unused,
        publisher,
        unpublish,
        expired,
        service: {
          ...own,
          objects,
          preview: unused,
          checkFile: unused,
          grading: { grade: unused },
          webhookPorts: [443],
        },
      }),
      keys: {
        find: async (token) => ({
          name: token,
          isAdmin: token === "root",
          mayUse: (adapter) => token !== "zeta" || adapter !== "plain",
        }),
      },
    });
  }

  beforeAll(async () => {
    opened = await openTables(open);
    const { database } = opened;
    ({ stores } = opened);
    folder = await mkdtemp(join(tmpdir(), "mos-aliases-"));
    const breakable: Database = {
      ...database,
      query: async (...given) => {
        if (!isReachable) throw unreachable;
        return database.query(...given);
      },
      transaction: (work) =>
        database.transaction(async (transaction) => {
          const result = await work(transaction);
          await beforeCommit();
          return result;
        }),
    };
    one = await startServer("one", breakable);
    two = await startServer("two", breakable);
    for (const name of [V1, V2, V3, OTHERS]) await publish(name);
  });
  afterAll(async () => {
    await opened[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });
  afterEach(async () => {
    isReachable = true;
    await opened.database.query("delete from aliases; update models set expires_at = null");
    for (const look of looks) await look();
  });

  const publish = (name: string) =>
    opened.database.query("insert into models (name, tenant, files) values ($1, $2, '{}')", [
      name,
      name.split(":")[2],
    ]);

  interface Call {
    readonly server?: TestServer;
    readonly tenant?: string;
    readonly method?: string;
    readonly body?: unknown;
  }
  async function call(
    path: string,
    { server = one, tenant = "acme", method = "GET", body }: Call = {},
  ): Promise<Answer> {
    const response = await server.fetch(`/v1${path}`, {
      method,
      headers: {
        authorization: `Bearer ${tenant}`,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return collectAnswer(response);
  }
  const put = (model: string, more: object = {}, options: Call & { name?: string } = {}) =>
    call(`/aliases/${options.name ?? "support"}`, { method: "PUT", body: { model, ...more }, ...options });
  const remove = (model: string) => call(`/models/${model}`, { method: "DELETE" });
  const messages = [{ role: "user", content: "Hi" }];
  const chat = (model: string, options: Call = {}, more: object = {}) =>
    call("/chat/completions", { method: "POST", body: { model, messages, ...more }, ...options });
  /** The model that answers. */
  const answerer = async (model: string, options: Call = {}): Promise<string> => {
    const { json, status } = await chat(model, options);
    if (status !== 200) return `${status} ${json.error.code}`;
    const said: string = json.choices[0].message.content;
    if (json.model !== "base") expect(said.trim().startsWith(`${json.model}:`)).toBe(true);
    return json.model;
  };
  const listed = async (options: Call = {}): Promise<Record<string, unknown>[]> =>
    (await call("/models", options)).json.data;

  test("without the folder of models, a client knows that it is away, and the log knows which", async () => {
    const adapters = join(folder, "one");
    const unseen = "ft:base:acme::unseen";
    await publish(unseen);
    one.log.length = 0;
    await rename(adapters, `${adapters}.away`);
    try {
      const { status, json, headers } = await chat(unseen);
      expect([status, json.error.code, headers.get("retry-after")]).toEqual([
        503,
        "storage_unavailable",
        "5",
      ]);
      expect(json.error.message).toBe("the server's storage is missing; retry the request");
    } finally {
      await rename(`${adapters}.away`, adapters);
    }
    const reason = expect.stringContaining(`${adapters}: the folder of models is missing`);
    expect(one.log).toContainEqual(
      expect.objectContaining({ level: "error", fields: expect.objectContaining({ reason }) }),
    );
  });

  test("a switch on one server is what the next request on another one has", async () => {
    expect(await answerer("support")).toBe("404 model_not_found");
    expect((await put(V1)).json).toMatchObject({ id: "support", object: "alias", model: V1, version: 1 });
    expect(await answerer("support", { server: two })).toBe(V1);
    await put(V2, {}, { server: two });
    expect(await answerer("support")).toBe(V2);
    const completion = { method: "POST", body: { model: "support", prompt: "Hi" } };
    expect((await call("/completions", completion)).json.model).toBe(V2);
    await put(V3);
    expect(await answerer("support", { server: two })).toBe(V3);
    // back to an earlier model
    expect((await put(V2)).json).toMatchObject({ model: V2, version: 4 });
    expect(await answerer("support", { server: two })).toBe(V2);
    await put("base");
    expect(await answerer("support", { server: two })).toBe("base");
  });

  test("its history goes back a hundred changes, and a rollback is one of them", async () => {
    const history = async (options: Call = {}) => (await call("/aliases/support/history", options)).json;
    expect((await call("/aliases/support/history")).status).toBe(404);
    for (const model of [V1, V2, V2, V1]) await put(model);
    const change = { object: "alias.change", changed_at: expect.any(Number) };
    expect(await history({ server: two })).toEqual({
      object: "list",
      data: [
        { ...change, version: 3, model: V1 },
        { ...change, version: 2, model: V2 },
        { ...change, version: 1, model: V1 },
      ],
    });
    expect((await history({ tenant: "zeta" })).error.code).toBe("not_found");
    expect((await call("/aliases/support/history?tenant=acme", { tenant: "root" })).status).toBe(200);
    await opened.database.query("update aliases set version = version + 100, changed_at = now()");
    expect((await history()).data).toMatchObject([{ version: 103 }]);
    await call("/aliases/support", { method: "DELETE" });
    await put(V3);
    expect((await history()).data).toMatchObject([{ version: 1, model: V3 }]);
  });

  test("a stream ends on the version with which it began", async () => {
    await put(V1);
    const response = await one.fetch("/v1/chat/completions", {
      method: "POST",
      headers: { authorization: "Bearer acme", "content-type": "application/json" },
      body: JSON.stringify({ model: "support", messages, stream: true }),
    });
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    let text = (await reader.read()).value ?? "";
    await put(V2, {}, { server: two });
    expect(await answerer("support")).toBe(V2);
    for (let part = await reader.read(); !part.done; part = await reader.read()) text += part.value;
    const chunks = text.split("\n\n").filter((line) => line.startsWith("data: {"));
    const models = new Set(chunks.map((line) => JSON.parse(line.slice(6)).model));
    expect(models).toEqual(new Set([V1]));
    expect(text).toContain('"finish_reason":"stop"');
  });

  test("aliases are the tenant's", async () => {
    await put(V1);
    expect(await answerer("support", { tenant: "zeta" })).toBe("404 model_not_found");
    expect((await call("/aliases/support", { tenant: "zeta" })).status).toBe(404);
    expect((await call("/aliases/support", { tenant: "zeta", method: "DELETE" })).status).toBe(404);
    expect((await call("/aliases/support?tenant=acme", { tenant: "zeta" })).status).toBe(403);
    expect((await put(V1, {}, { tenant: "zeta" })).json.error).toMatchObject({ code: "model_not_found" });
    await put(OTHERS, {}, { tenant: "zeta" });
    expect(await answerer("support", { tenant: "zeta", server: two })).toBe(OTHERS);
    expect(await answerer("support")).toBe(V1);
    // an administrator names the tenant, and gives it nothing of another's
    const root = { tenant: "root" };
    expect((await call("/aliases", root)).json.data).toEqual([]);
    expect((await call("/aliases?tenant=acme", root)).json.data).toMatchObject([
      { id: "support", organization_id: "acme", model: V1 },
    ]);
    const set = (model: string) =>
      call("/aliases/support?tenant=acme", { method: "PUT", body: { model }, ...root });
    expect((await set(OTHERS)).status).toBe(404);
    expect((await set(V2)).status).toBe(200);
    expect(await answerer("support")).toBe(V2);
  });

  test("what an alias cannot be, and cannot stand for", async () => {
    for (const name of ["base", "plain", "ft:base:acme::1", "-a", "a b", "a".repeat(129)])
      expect((await put(V1, {}, { name: encodeURIComponent(name) })).status, name).toBe(400);
    expect((await put(V1, {}, { name: "a%20b" })).json.error).toMatchObject({ param: "name" });
    for (const path of ["/aliases/%00", "/aliases?tenant=%00"])
      expect((await call(path, { tenant: "root" })).status, path).toBe(400);
    for (const path of ["/files/%00", "/fine_tuning/jobs/%00"])
      expect((await call(path)).status, path).toBe(404);
    for (const method of ["DELETE", "POST"])
      expect(
        (await call("/models/ft:base:acme::%00", { method, ...(method === "POST" ? { body: {} } : {}) }))
          .status,
      ).toBe(404);
    expect(await answerer("a\0")).toBe("404 model_not_found");
    expect(await answerer("ft:base:acme::\0")).toBe("404 model_not_found");
    expect((await put("plain")).status).toBe(200);
    await put(V1, {}, { name: "other" });
    for (const model of [OTHERS, "ft:base:acme::none", "nothing", "other"])
      expect((await put(model)).json.error, model).toMatchObject({ code: "model_not_found", param: "model" });
    expect((await put("plain", {}, { tenant: "zeta" })).status).toBe(404);
    expect((await call("/aliases/support", { method: "PUT", body: {} })).json.error.param).toBe("model");
    expect((await call("/aliases/support", { method: "DELETE" })).json).toMatchObject({ deleted: true });
    expect(await answerer("support")).toBe("404 model_not_found");
    expect((await call("/aliases/support")).status).toBe(404);
  });

  test("changes that expect another version are refused, and others follow each other", async () => {
    expect((await put(V1, { expected_version: 1 })).status).toBe(409);
    expect((await call("/aliases/support")).status).toBe(404);
    const models = [V1, V2, V3];
    const first = await Promise.all(models.map((model) => put(model, { expected_version: 0 })));
    expect(first.map(({ status }) => status).sort()).toEqual([200, 409, 409]);
    const model = (await call("/aliases/support")).json.model as string;
    expect((await put(model)).json.version).toBe(1);
    expect((await put(model, { expected_version: 2 })).json.error).toMatchObject({ code: "conflict" });
    const others = models.filter((each) => each !== model);
    await Promise.all(others.map((each, i) => put(each, {}, { server: i === 0 ? one : two })));
    expect((await call("/aliases/support")).json.version).toBe(3);
    // one of two that go back at once
    const back = { expected_version: 3 };
    const both = await Promise.all([put(model, back), put(model, back, { server: two })]);
    expect(both.map(({ status }) => status).sort()).toEqual([200, 409]);
    expect((await call("/aliases/support")).json).toMatchObject({ version: 4, model });
  });

  test("lists by pages, and models with the names that stand for them", async () => {
    for (const name of ["a", "b", "c"]) await put(V1, {}, { name });
    const first = (await call("/aliases?limit=2")).json;
    expect(first).toMatchObject({ object: "list", first_id: "c", last_id: "b", has_more: true });
    const second = (await call("/aliases?limit=2&after=b")).json;
    expect(second).toMatchObject({ first_id: "a", last_id: "a", has_more: false });
    const names = (await listed()).map(({ id }) => id);
    expect(names).toEqual(expect.arrayContaining(["base", "plain", V1, "a", "b", "c"]));
    expect((await call("/models/a")).json).toMatchObject({
      id: "a",
      root: V1,
      parent: "base",
      object: "model",
    });
    expect((await listed({ tenant: "zeta" })).map(({ id }) => id)).not.toContain("a");
    expect((await call("/models/a", { tenant: "zeta" })).status).toBe(404);
  });

  test("a model that an alias stands for is not deleted, and one that was deleted cannot be set again", async () => {
    const [older, old, now] = ["ft:base:acme::older", "ft:base:acme::old", "ft:base:acme::now"];
    for (const name of [older, old, now]) await publish(name);
    for (const name of [older, old, now]) await put(name);
    expect((await remove(now)).json.error.message).toContain("the alias support points to this model");
    expect(await answerer("support")).toBe(now);
    expect((await remove(old)).status).toBe(200);
    expect((await put(old)).json.error).toMatchObject({ code: "model_not_found", param: "model" });
    expect(await answerer("support")).toBe(now);
    expect((await put(older)).json.model).toBe(older);
    expect((await remove(now)).status).toBe(200);
  });

  test.each([true, false])("a switch and a deletion at once, the switch first: %s", async (isSwitchFirst) => {
    const name = `ft:base:acme::race-${isSwitchFirst}`;
    await publish(name);
    const gate = new EventEmitter();
    beforeCommit = async () => {
      beforeCommit = async () => undefined;
      gate.emit("reached");
      await once(gate, "open");
    };
    const [first, second] = isSwitchFirst ? [put, remove] : [remove, put];
    const reached = once(gate, "reached");
    const answers = [first(name)];
    await reached;
    answers.push(second(name));
    await sleep(200); // in which the second one gets as far as it can
    gate.emit("open");
    const statuses = (await Promise.all(answers)).map(({ status }) => status);
    expect(statuses).toEqual([200, isSwitchFirst ? 400 : 404]);
  });

  test("without its database a server goes on with all models but aliases", async () => {
    await put(V1);
    expect(await answerer(V1)).toBe(V1);
    isReachable = false;
    const { status, json, headers } = await chat("support");
    expect([status, json.error.code]).toEqual([503, "database_unavailable"]);
    expect(headers.get("retry-after")).not.toBeNull();
    expect(await answerer(V1)).toBe(V1);
    expect(await answerer("plain")).toBe("plain");
    expect(await answerer("base")).toBe("base");
    expect((await listed()).map(({ id }) => id)).toEqual(expect.arrayContaining(["base", "plain", V1]));
    expect((await call("/aliases")).status).toBe(503);
  });

  test("models expire at once on all servers, but not while an alias may need them", async () => {
    const expires = (name: string, body: object, options: Call = {}) =>
      call(`/models/${name}`, { method: "POST", body, ...options });
    /** As if the time had come. */
    const end = async (name: string): Promise<void> => {
      await opened.database.query("update models set expires_at = now() - interval '1 s' where name = $1", [
        name,
      ]);
      for (const look of looks) await look();
    };
    const short = "ft:base:acme::short";
    await publish(short);
    expect(await answerer(short, { server: two })).toBe(short);
    expect((await expires(short, { expires_after: 3600 }, { tenant: "zeta" })).status).toBe(404);
    const at = Math.floor(Date.now() / 1000) + 3600;
    expect((await expires(short, { expires_at: at })).json).toMatchObject({ id: short, expires_at: at });
    expect((await listed({ server: two })).find(({ id }) => id === short)).toMatchObject({ expires_at: at });
    expect((await expires(short, { expires_at: null })).json.expires_at).toBeUndefined();
    for (const body of [
      { expires_at: 1 },
      { expires_after: 0 },
      { expires_at: at, expires_after: 60 },
      { expires: 1 },
    ])
      expect((await expires(short, body)).status, JSON.stringify(body)).toBe(400);
    const after = (await expires(short, { expires_after: 7200 })).json.expires_at;
    expect(after).toBeGreaterThan(at);

    // held by what an alias is
    await put(short);
    await end(short);
    expect(await answerer(short, { server: two })).toBe(short);
    await stores.models.removeExpired();
    expect(await answerer("support", { server: two })).toBe(short);
    await put(V1);
    for (const look of looks) await look();
    for (const server of [one, two]) {
      expect(await answerer(short, { server })).toBe("404 model_not_found");
      expect((await listed({ server })).map(({ id }) => id)).not.toContain(short);
      expect((await call(`/models/${short}`, { server })).status).toBe(404);
    }
    expect((await put(short)).status).toBe(404);
    expect((await expires(short, { expires_after: 60 })).status).toBe(404);
    expect((await stores.models.published()).has(short)).toBe(false);
    await stores.models.removeExpired();
    const rows = await opened.database.query("select name from models where name = any($1)", [[short, V1]]);
    expect(rows.map(({ name }) => name)).toEqual([V1]);
  });

  test("a job says after how long its models expire", async () => {
    const training = await addTrainingFile(stores);
    const made = async (mos: object) => {
      const request = jobRequestSchema.parse({ model: "base", training_file: training.id, mos });
      const plan = toTrainingPlan(request, { seed: 1, learningRate: 0.002 });
      await stores.jobs.create({ tenant: "acme", request, plan, training, validation: undefined });
      const slices = openSlices(opened.database);
      const job = await untilDue(() => slices.claim("base", "w"));
      const progress = { step: 2, steps: 2, trainedTokens: 30, seconds: 1 };
      await slices.publishCheckpoint(job, { step: 2, files: {}, metrics: {} });
      const results = { digest: "d".repeat(64), bytes: 7 };
      await slices.end(job, { type: "succeeded", adapter: {}, results, ...progress });
      const rows = await opened.database.query(
        `select name like '%ckpt-step-2' as checkpoint, round(extract(epoch from expires_at - created_at))::integer as seconds
         from models where job = $1 order by name`,
        [job.id],
      );
      return rows.map(({ checkpoint, seconds }) => [checkpoint, seconds]);
    };
    expect(await made({ expires_after: 3600, checkpoints_expire_after: 60 })).toEqual([
      [false, 3600],
      [true, 60],
    ]);
    expect(await made({ expires_after: 3600 })).toEqual([
      [false, 3600],
      [true, null],
    ]);
    expect(await made({})).toEqual([
      [false, null],
      [true, null],
    ]);
    expect(
      jobRequestSchema.safeParse({ model: "b", training_file: "f", mos: { expires_after: 1 } }).success,
    ).toBe(false);
  });
});
