import type { StoredResponse } from "mixture-of-shards/server";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openResponses } from "../src/store/responses.ts";
import { databases, openTables, type TestTables } from "./databases.ts";

const stored = (id: string, text = "x"): StoredResponse => ({
  id,
  createdAt: 0,
  response: { id },
  input: [{ id: `in_${id}`, role: "user", content: text }],
  output: [],
});

describe.each(databases)("stored responses on %s", (_, open) => {
  let tables: TestTables;
  let responses: ReturnType<typeof openResponses>;
  beforeAll(async () => {
    tables = await openTables(open);
    responses = openResponses(tables.database);
  });
  afterAll(() => tables[Symbol.asyncDispose]());

  test("are found by id and by item, by their own tenant only, whatever their text", async () => {
    const store = responses.within({ bytes: 10_000, days: 1 });
    const one = stored("a", "zero \0, half \ud800 and “quoted”");
    await store.put("acme", one);
    const found = await store.get("acme", "a");
    expect(found).toEqual(one);
    expect(await store.item("acme", "in_a")).toEqual(one.input[0]);
    expect(await store.get("zeta", "a")).toBeUndefined();
    expect(await store.item("zeta", "in_a")).toBeUndefined();
    expect(await store.delete("zeta", "a")).toBe(false);
    expect(await store.delete("acme", "a")).toBe(true);
    expect(await store.get("acme", "a")).toBeUndefined();
  });

  test("older ones give way to newer ones, of the same tenant only", async () => {
    const bytes = 2 * Buffer.byteLength(JSON.stringify(stored("a")));
    const store = responses.within({ bytes, days: 1 });
    await store.put("zeta", stored("z"));
    for (const id of ["a", "b", "c"]) await store.put("acme", stored(id));
    const found = await Promise.all(["a", "b", "c"].map((id) => store.get("acme", id)));
    expect(found.map((row) => row?.id)).toEqual([undefined, "b", "c"]);
    await store.put("acme", stored("d", "x".repeat(2000)));
    expect(await store.get("acme", "d")).toBeUndefined();
    expect((await store.get("acme", "c"))?.id).toBe("c");
    expect((await store.get("zeta", "z"))?.id).toBe("z");
  });

  test("they end after their days", async () => {
    await responses.within({ bytes: 10_000, days: 1 }).put("acme", stored("old"));
    await tables.database.query("update responses set expires_at = now() where id = 'old'");
    expect(await responses.within({ bytes: 10_000, days: 1 }).get("acme", "old")).toBeUndefined();
    await responses.removeExpired();
    expect(await tables.database.query("select id from responses where id = 'old'")).toEqual([]);
  });
});
