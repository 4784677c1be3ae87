// Lessons: from feedback and by hand, with consent, contradictions and checks; deleted ones are in no file.
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { StoredResponse } from "mixture-of-shards/server";
import { parseLesson } from "mixture-of-shards-core/learning";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { addServiceRoutes, type ServiceEnv } from "#api";
import { migrate, openPglite, rewrite } from "#database";
import { openStores } from "#store";
import { databases, makePglite, openTables, type TestTables } from "./databases.ts";
import { makeServer, type TestServer } from "./server.ts";

const stored = (id: string, [asked, answered]: readonly [string, string]) =>
  ({
    ...{ id, createdAt: 0, response: { id, model: "tiny", instructions: null } },
    input: [{ id: `in_${id}`, type: "message", role: "user", content: asked }],
    output: [
      {
        ...{ id: `out_${id}`, type: "message", role: "assistant", status: "completed" },
        content: [{ type: "output_text", text: answered, annotations: [], logprobs: [] }],
      },
    ],
  }) as StoredResponse;

const ask = (content: string, answer?: string) => [
  { role: "user", content },
  ...(answer === undefined ? [] : [{ role: "assistant", content: answer }]),
];

const LIMITS: Readonly<Record<string, object>> = {
  silent: {},
  small: { learning_days: 30, max_storage_bytes: 700 },
};

describe.each(databases)("lessons on %s", (_, open) => {
  let opened: TestTables;
  let server: TestServer;
  beforeAll(async () => {
    opened = await openTables(open);
    server = await makeServer({
      extension: {
        routes: (app) => addServiceRoutes(app, opened.stores as unknown as ServiceEnv),
        responses: opened.stores.responses.within,
      },
      keys: {
        find: async (name) => ({
          ...{ name, isAdmin: name === "admin", mayUse: () => true },
          limits: { fine_tuning: LIMITS[name] ?? { learning_days: 30 } },
        }),
      },
    });
  });
  beforeEach(async () => {
    await opened.database.query("delete from responses; delete from feedback; delete from lessons");
    const kept = opened.stores.responses.within({ bytes: 100_000, days: 1 });
    for (const tenant of ["acme", "silent"]) await kept.put(tenant, stored("r", ["Price?", "Hi! It is $5."]));
  });
  afterAll(() => opened[Symbol.asyncDispose]());

  const call = async (
    tenant: string,
    path: string,
    { method = "GET", body }: { method?: string; body?: object } = {},
  ) => {
    const answer = await server.fetch(path, {
      method,
      headers: { authorization: `Bearer ${tenant}`, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    const isJson = answer.headers.get("content-type")?.startsWith("application/json") === true;
    return { status: answer.status, text, json: isJson ? JSON.parse(text) : undefined };
  };
  const lessons = "/v1/learning/lessons";
  const add = (tenant: string, body: object) => call(tenant, lessons, { method: "POST", body });
  const rate = (tenant: string, said: object) =>
    call(tenant, "/v1/feedback", { method: "POST", body: { response_id: "r", ...said } });
  const list = async (tenant: string, query = "") => (await call(tenant, `${lessons}${query}`)).json.data;

  test("feedback that says what is right becomes a lesson, and another rating replaces it", async () => {
    expect((await rate("acme", { rating: "down" })).json.lesson_id).toBeNull();
    const first = await rate("acme", { rating: "down", correction: "5 €" });
    expect(await list("acme")).toMatchObject([
      {
        ...{ id: first.json.lesson_id, object: "learning.lesson", kind: "lesson", enabled: true },
        messages: ask("Price?", "5 €"),
        rejected_response: "Hi! It is $5.",
        source: { kind: "correction", id: "r" },
        ...{ contradicts: [], response_id: "r", organization_id: "acme" },
      },
    ]);
    const [{ created_at: from, expires_at: to }] = await list("acme");
    expect(to - from).toBe(30 * 86_400);
    await rate("acme", { rating: "down", hint: "No greeting." });
    expect(await list("acme")).toMatchObject([
      { messages: ask("Price?"), hint: "No greeting.", source: { kind: "remark" } },
    ]);
    await rate("acme", { rating: "up" });
    expect(await list("acme")).toMatchObject([
      { messages: ask("Price?", "Hi! It is $5."), source: { kind: "thumb" } },
    ]);
    expect((await list("acme"))[0]).not.toHaveProperty("hint");
    // without feedback there is none
    expect((await call("acme", "/v1/feedback/r", { method: "DELETE" })).status).toBe(200);
    expect(await list("acme")).toEqual([]);
  });

  test("a key that allows no lessons has feedback, but no lessons", async () => {
    expect(await rate("silent", { rating: "down", correction: "5 €" })).toMatchObject({
      status: 200,
      json: { correction: "5 €", lesson_id: null },
    });
    expect(await add("silent", { messages: ask("a", "b") })).toMatchObject({
      status: 403,
      json: { error: { code: "learning_not_allowed", message: expect.stringContaining("--learning-days") } },
    });
    expect(await list("silent")).toEqual([]);
  });

  test("lessons that contradict each other are shown until one is left, in one case of letters or another", async () => {
    const [one, two] = [
      await add("acme", { messages: ask("Who keeps the light?", "Ada") }),
      await add("acme", { messages: ask("who keeps  the light", "Bob") }),
    ];
    await add("acme", { messages: ask("Who keeps the light?", "ada.") }); // the same answer
    await add("acme", { messages: ask("Other?", "Yes") });
    const shown = await list("acme", "?contradicted=true");
    expect(shown).toHaveLength(3);
    expect((await call("acme", `${lessons}/${one.json.id}`)).json.contradicts).toContain(two.json.id);
    await call("acme", `${lessons}/${two.json.id}`, { method: "PATCH", body: { enabled: false } });
    expect(await list("acme", "?contradicted=true")).toEqual([]);
    expect(await list("acme")).toHaveLength(4);
    expect((await call("acme", `${lessons}/export`)).text).not.toContain("Bob");
  });

  test("a check has an answer or a grader, and a lesson becomes one", async () => {
    expect(await add("acme", { kind: "check", messages: ask("a"), hint: "Be brief." })).toMatchObject({
      status: 400,
      json: { error: { param: "messages" } },
    });
    const grader = {
      type: "string_check",
      name: "c",
      operation: "like",
      input: "{{sample.output_text}}",
      reference: "b",
    };
    expect((await add("acme", { kind: "check", messages: ask("a"), grader })).json).toMatchObject({
      kind: "check",
      grader,
    });
    const { json } = await add("acme", { messages: ask("c", "d"), held_out: true });
    const change = (body: object) => call("acme", `${lessons}/${json.id}`, { method: "PATCH", body });
    expect((await change({ kind: "check", weight: 2 })).json).toMatchObject({
      kind: "check",
      weight: 2,
      held_out: true,
    });
    expect(await list("acme", "?kind=check")).toHaveLength(2);
    const lines = (await call("acme", `${lessons}/export?kind=check`)).text.trim().split("\n");
    expect(lines.map((line) => parseLesson(JSON.parse(line)).messages[0]?.content)).toEqual(["a", "c"]);
    expect((await change({ messages: [] })).status).toBe(400);
  });

  test("the same lesson is kept once, and one that cannot be learnt is refused with its field", async () => {
    const lesson = { messages: ask("a", "b"), weight: 1 };
    const { json } = await add("acme", lesson);
    expect((await add("acme", { ...lesson, weight: 3 })).json.id).toBe(json.id);
    expect(await list("acme")).toMatchObject([{ weight: 3 }]);
    for (const messages of [[], ask("a"), ask("a\0", "b"), [{ role: "tool", content: "x" }]])
      expect(await add("acme", { messages })).toMatchObject({
        status: 400,
        json: { error: { param: expect.stringContaining("messages") } },
      });
  });

  test("they belong to their tenant, whom an administrator names", async () => {
    const { json } = await add("acme", { messages: ask("a", "b") });
    await add("zeta", { messages: ask("a", "b") });
    await add("zeta", { messages: ask("a", "c") });
    expect(await list("acme")).toMatchObject([{ organization_id: "acme", contradicts: [] }]);
    expect((await call("beta", `${lessons}/${json.id}`)).status).toBe(404);
    expect((await call("beta", `${lessons}/${json.id}`, { method: "DELETE" })).status).toBe(404);
    expect((await call("beta", `${lessons}?tenant=acme`)).status).toBe(403);
    expect(await list("admin", "?tenant=zeta")).toHaveLength(2);
    expect((await call("admin", `${lessons}/${json.id}?tenant=acme`, { method: "DELETE" })).status).toBe(200);
    expect(await list("acme")).toEqual([]);
    expect(await list("zeta")).toHaveLength(2);
  });

  test("they count as storage of their key, and go when their days are over, with their feedback", async () => {
    const long = { messages: ask("a", "b".repeat(300)) };
    expect(await add("small", long)).toMatchObject({ status: 413, json: { error: { param: "messages" } } });
    expect((await add("small", { messages: ask("a", "b") })).status).toBe(200);
    await rate("acme", { rating: "down", correction: "5 €" });
    await opened.stores.lessons.removeExpired();
    expect(await list("acme")).toHaveLength(1);
    await opened.database.query(
      "update lessons set expires_at = now() - interval '1 s' where tenant = 'acme'",
    );
    expect(await list("acme")).toEqual([]);
    await opened.stores.lessons.removeExpired();
    expect((await call("acme", "/v1/feedback/export")).text).toBe("");
    expect(await list("small")).toHaveLength(1);
  });

  test("feedback leaves a check, a disabled lesson and one that was added by hand as they are", async () => {
    const change = (id: string, body: object) => call("acme", `${lessons}/${id}`, { method: "PATCH", body });
    const said = { rating: "down", correction: "5 €" };
    const { lesson_id: id } = (await rate("acme", said)).json;
    await change(id, { enabled: false, weight: 2 });
    await rate("acme", said);
    expect(await list("acme")).toMatchObject([
      { kind: "lesson", enabled: false, weight: 2, response_id: "r" },
    ]);
    await change(id, { enabled: true, kind: "check" });
    await rate("acme", said);
    const check = { kind: "check", weight: 2, response_id: null };
    expect(await list("acme")).toMatchObject([check]);
    await add("acme", { messages: ask("Price?", "Hi! It is $5.") });
    await rate("acme", { rating: "up" });
    await call("acme", "/v1/feedback/r", { method: "DELETE" });
    expect(await list("acme")).toMatchObject([{ kind: "lesson" }, check]);
  });

  test("a lesson added again by hand is enabled or becomes a check where the request has its kind", async () => {
    const { json } = await add("acme", { messages: ask("a", "b") });
    await call("acme", `${lessons}/${json.id}`, { method: "PATCH", body: { enabled: false } });
    const again = async (more: object) => (await add("acme", { messages: ask("a", "b"), ...more })).json;
    expect(await again({})).toMatchObject({ kind: "lesson", enabled: false });
    expect(await again({ kind: "check" })).toMatchObject({ kind: "check", enabled: true });
    expect(await again({})).toMatchObject({ kind: "check" });
    expect(await again({ kind: "lesson" })).toMatchObject({ kind: "lesson" });
  });

  test("with a lesson goes all feedback that teaches it", async () => {
    const kept = opened.stores.responses.within({ bytes: 100_000, days: 1 });
    await kept.put("acme", stored("s", ["Price?", "Hi! It is $5."]));
    await kept.put("acme", stored("t", ["Price?", "Hi! It is $5."]));
    const said = { rating: "down", correction: "5 €" };
    const { lesson_id: id } = (await rate("acme", said)).json;
    expect((await rate("acme", { response_id: "s", ...said })).json.lesson_id).toBe(id);
    await rate("acme", { response_id: "t", rating: "down", correction: "6 €" });
    await call("acme", `${lessons}/${id}`, { method: "DELETE" });
    const lines = (await call("acme", "/v1/feedback/export")).text;
    expect(lines).not.toContain("5 €");
    expect(lines).toContain("6 €");
  });

  test("an answer that is empty or too long to be learnt from is left out of the lesson", async () => {
    const kept = opened.stores.responses.within({ bytes: 100_000, days: 1 });
    for (const answer of ["", "x".repeat(32_001)]) {
      await kept.put("acme", stored("s", ["When?", answer]));
      const { json } = await rate("acme", { response_id: "s", rating: "down", correction: "Now" });
      expect(json.lesson_id).toEqual(expect.any(String));
      expect((await list("acme"))[0]).not.toHaveProperty("rejected_response");
      await opened.database.query("delete from responses where id = 's'");
    }
  });

  test("pages of contradicted lessons are full while there are more", async () => {
    for (const answer of ["1", "2"]) await add("acme", { messages: ask("a", answer) });
    for (const hint of ["Be brief.", "Be kind."]) await add("acme", { messages: ask("b"), hint });
    const page = async (query: string) =>
      (await call("acme", `${lessons}?contradicted=true&limit=1${query}`)).json;
    const first = await page("");
    expect(first).toMatchObject({ data: [{ messages: ask("a", "2") }], has_more: true });
    expect(await page(`&after=${first.data[0].id}`)).toMatchObject({
      data: [{ messages: ask("a", "1") }],
      has_more: false,
    });
  });

  test("checks, which never give way, are bounded", async () => {
    await add("acme", { kind: "check", messages: ask("a", "b") });
    const { json } = await add("acme", { messages: ask("c", "d") });
    await opened.database.query("update lessons set bytes = 63999999 where kind = 'check'");
    expect(await add("acme", { kind: "check", messages: ask("e", "f") })).toMatchObject({
      status: 413,
      json: { error: { param: "messages", message: expect.stringContaining("checks") } },
    });
    expect(
      await call("acme", `${lessons}/${json.id}`, { method: "PATCH", body: { kind: "check" } }),
    ).toMatchObject({ status: 413, json: { error: { param: "kind" } } });
    expect(await list("acme", "?kind=check")).toHaveLength(1);
  });

  test("what changes lessons or feedback takes the tenant's lock before any row", async () => {
    const firsts: string[] = [];
    const { feedback, lessons: kept } = openStores({
      ...opened.database,
      transaction: (work) =>
        opened.database.transaction((on) => {
          let isFirst = true;
          const query: typeof on.query = (text, values) => {
            if (isFirst) firsts.push(text);
            isFirst = false;
            return on.query(text, values);
          };
          return work({ query });
        }),
    });
    const lesson = parseLesson({ messages: ask("a", "b") });
    const said = {
      tenant: "acme",
      id: "r",
      model: "m",
      rating: "up" as const,
      prompt: "[]",
      completion: "[]",
    };
    const put = () => feedback.put({ ...said, correction: null, hint: null, lesson });
    const id = (await put()).lesson_id as string;
    await feedback.delete("acme", "r");
    await kept.put({ tenant: "acme", lesson });
    await kept.change("acme", id, { enabled: false });
    await kept.remove("acme", id);
    await put();
    await opened.database.query("update lessons set expires_at = now() - interval '1 s'");
    await kept.removeExpired();
    expect(await list("acme")).toEqual([]);
    expect(firsts).toHaveLength(7);
    for (const first of firsts) expect(first).toContain("pg_advisory_xact_lock");
  });

  test("a deletion is to be erased once", async () => {
    const { json } = await add("acme", { messages: ask("a", "b") });
    let count = 0;
    const erase = () =>
      opened.stores.lessons.erase(async () => {
        count++;
      });
    await erase(); // of earlier tests
    count = 0;
    await erase();
    await call("acme", `${lessons}/${json.id}`, { method: "DELETE" });
    await erase();
    await erase();
    expect(count).toBe(1);
  });
});

test("no file of PGlite has what was deleted, once it was rewritten", async () => {
  const folder = await mkdtemp(join(tmpdir(), "mos-erase-"));
  await makePglite(join(folder, "database"));
  await using database = await openPglite(join(folder, "database"));
  await migrate(database);
  const { lessons, feedback } = openStores(database);
  const canary = "canary-5c1f";
  // one that fits into its row, and one that does not, even compressed
  const texts = [canary, `${canary} ${Array.from({ length: 8000 }, (_, i) => (i * 7919) % 9973).join("")}`];
  for (const [i, text] of texts.entries()) {
    const lesson = parseLesson({ messages: ask(`q${i}`, text) });
    const said = {
      tenant: "acme",
      id: `r${i}`,
      model: "m",
      rating: "down" as const,
      prompt: "[]",
      completion: "[]",
    };
    await feedback.put({ ...said, correction: text, hint: null, lesson });
  }
  await database.query("checkpoint");
  const files = async (): Promise<number> => {
    const all = await readdir(folder, { recursive: true, withFileTypes: true });
    const paths = all.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
    const found = await Promise.all(paths.map(async (path) => (await readFile(path)).includes(canary)));
    return found.filter(Boolean).length;
  };
  try {
    expect(await files()).toBeGreaterThan(0);
    for (const { id } of await lessons.all("acme")) await lessons.remove("acme", id);
    await rewrite(database, ["feedback", "lessons"]);
    expect(await files()).toBe(0);
    expect(await database.query("show wal_recycle")).toEqual([{ wal_recycle: "on" }]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
