import { describe, expect, test } from "vitest";
import { createMemoryStore, type StoredResponse, storedBytes } from "./store.ts";

const stored = (id: string, text = "x"): StoredResponse => ({
  id,
  createdAt: 0,
  response: { id },
  input: [{ id: `in_${id}`, role: "user", content: text }],
  output: [],
});

describe("responses in memory", () => {
  test("are found by id and by item, by their own tenant only", async () => {
    const store = createMemoryStore({ bytes: 10_000, days: 1 }, () => 0);
    await store.put("acme", stored("a"));
    expect(await store.get("acme", "a")).toEqual(stored("a"));
    expect(await store.item("acme", "in_a")).toEqual({ id: "in_a", role: "user", content: "x" });
    expect(await store.get("zeta", "a")).toBeUndefined();
    expect(await store.item("zeta", "in_a")).toBeUndefined();
    expect(await store.delete("zeta", "a")).toBe(false);
    expect(await store.delete("acme", "a")).toBe(true);
    expect(await store.item("acme", "in_a")).toBeUndefined();
  });

  test("older ones give way to newer ones, of the same tenant only", async () => {
    const bytes = storedBytes(stored("a")) * 2;
    const store = createMemoryStore({ bytes, days: 1 }, () => 0);
    await store.put("zeta", stored("z"));
    for (const id of ["a", "b", "c"]) await store.put("acme", stored(id));
    const found = await Promise.all(["a", "b", "c"].map((id) => store.get("acme", id)));
    expect(found.map((one) => one?.id)).toEqual([undefined, "b", "c"]);
    expect((await store.get("zeta", "z"))?.id).toBe("z");
  });

  test("one that is larger than the limit is not stored, and displaces none", async () => {
    const store = createMemoryStore({ bytes: 500, days: 1 }, () => 0);
    await store.put("acme", stored("a"));
    await store.put("acme", stored("b", "x".repeat(1000)));
    expect((await store.get("acme", "a"))?.id).toBe("a");
    expect(await store.get("acme", "b")).toBeUndefined();
  });

  test("they end after their days", async () => {
    let now = 0;
    const store = createMemoryStore({ bytes: 10_000, days: 2 }, () => now);
    await store.put("acme", stored("a"));
    now = 2 * 86_400_000 - 1;
    expect((await store.get("acme", "a"))?.id).toBe("a");
    now++;
    expect(await store.get("acme", "a")).toBeUndefined();
  });
});
