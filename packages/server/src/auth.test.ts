import fc from "fast-check";
import { setting } from "mixture-of-shards-core/common";
import { expect, test } from "vitest";
import { z } from "zod";
import { startCpuTimer } from "../../../test/cpu-time.ts";
import { authenticate, findKey, hashKey, keyLines, parseKeys, tenantKey } from "./auth.ts";

const line = (name: string, more: object = {}) => JSON.stringify({ name, sha256: hashKey(name), ...more });

test("keys are found by their hash, and patterns match whole names", () => {
  const keys = parseKeys(
    `${line("acme", { adapters: ["acme-*", "a.b"] })}\n\n${line("all")}\n`,
    "keys.jsonl",
  );
  const acme = findKey(keys, "acme")!;
  expect(["acme-1", "acme-", "acme", "xacme-1", "a.b", "axb"].map(acme.mayUse)).toEqual([
    true,
    true,
    false,
    false,
    true,
    false,
  ]);
  expect(findKey(keys, "all")?.mayUse("anything")).toBe(true);
  expect(findKey(keys, "Acme")).toBeUndefined();
  expect(findKey(keys, hashKey("acme"))).toBeUndefined();
  expect(findKey(parseKeys(`[${line("acme", { revoked: true })}]`, "k"), "acme")).toBeUndefined();
  const [live, gone] = [line("acme"), line("acme", { revoked: true })];
  for (const both of [`${live}\n${gone}`, `${gone}\n${live}`])
    expect(findKey(parseKeys(both, "k"), "acme")).toBeUndefined();
});

test("a pattern is matched as an expression would, but in time that no pattern can stretch", () => {
  const mayUse = (pattern: string, name: string): boolean | undefined =>
    findKey(parseKeys(line("a", { adapters: [pattern] }), "k"), "a")?.mayUse(name);
  const text = (letters: string) =>
    fc.array(fc.constantFrom(...letters), { maxLength: 8 }).map((all) => all.join(""));
  fc.assert(
    fc.property(text("ab.*"), text("ab."), (pattern, name) => {
      const expression = new RegExp(`^${pattern.replaceAll(".", "\\.").replaceAll("*", ".*")}$`);
      expect(mayUse(pattern, name)).toBe(expression.test(name));
    }),
  );
  const spent = startCpuTimer();
  expect(mayUse(`${"*a".repeat(90)}*b`, "a".repeat(100_000))).toBe(false);
  expect(spent()).toBeLessThan(1000);
});

test("each key occurs once, with its last line, revoked if any line revokes it", () => {
  const text = [
    line("a", { admin: true }),
    line("b"),
    line("b", { adapters: ["b"] }),
    line("a", { revoked: true }),
  ];
  const { sha256: a } = JSON.parse(line("a"));
  const { sha256: b } = JSON.parse(line("b"));
  expect(keyLines(text.join("\n"), "keys.jsonl")).toEqual([
    { name: "a", sha256: a, admin: true, revoked: true },
    { name: "b", sha256: b, adapters: ["b"] },
  ]);
});

test("limits of add-ons are read, and what is not one is refused", () => {
  const limits = [{ name: "printing", options: { maxPages: setting(z.int().min(1), { help: "pages" }) } }];
  const printing = { max_pages: 3 };
  const limitsIn = (text: string) => findKey(parseKeys(text, "k", limits), "a")?.limits?.["printing"];
  expect(limitsIn(line("a", { printing }))).toEqual(printing);
  expect(limitsIn(line("a"))).toBeUndefined();
  for (const wrong of [{ max_pages: 0 }, { max_pages: 1.5 }, { maxPages: 1 }, { pages: 1 }, 3])
    expect(() => limitsIn(line("a", { printing: wrong })), JSON.stringify(wrong)).toThrowError(/^k:1: /);
  expect(() => parseKeys(line("a", { printing }), "k")).toThrowError(/printing/);
});

test("limits of an add-on that is not installed limit nothing, and are kept with the key", () => {
  const text = line("a", { printing: { max_pages: 0 } });
  expect(findKey(parseKeys(text, "k", [{ name: "printing" }]), "a")?.name).toBe("a");
  expect(keyLines(text, "k", [{ name: "printing" }])[0]).toMatchObject({ printing: { max_pages: 0 } });
});

test("a wrong line is named, and no key is shown", () => {
  const wrong = (text: string) => () => parseKeys(text, "keys.jsonl");
  expect(wrong(`${line("a")}\n{"name": "b", "key": "secret"}`)).toThrowError(/^keys\.jsonl:2: /);
  expect(wrong("nonsense")).toThrowError(/keys\.jsonl:1/);
  expect(wrong(line("a", { sha256: "short" }))).toThrowError(/64 hexadecimal/);
  expect(wrong(line("a b"))).toThrowError(/field "name"/);
});

test("an expired key is refused from its moment on, with another code than a wrong one", async () => {
  const text = line("trial", { expires_at: "2026-12-01T01:00:00+01:00" });
  const keys = { find: async (token: string) => findKey(parseKeys(text, "k"), token) };
  const at = (date: number) => authenticate({ keys, date: () => date }, "Bearer trial");
  const end = Date.UTC(2026, 11, 1);
  expect((await at(end - 1)).name).toBe("trial");
  await expect(at(end)).rejects.toMatchObject({
    message: expect.stringContaining("the API key expired at 2026-12-01T00:00:00.000Z"),
    details: { status: 401, code: "expired_api_key" },
  });
  for (const expires_at of ["tomorrow", "2026-12-01T00:00:00", 1_800_000_000])
    expect(() => parseKeys(line("trial", { expires_at }), "keys.jsonl")).toThrow(
      /^keys\.jsonl:1: field "expires_at" is .*; expected a (date and time|string)/,
    );
});

test("jobs may do no more than any valid key of their tenant, so no more than the one that created them", async () => {
  const lines = [
    line("wide", { admin: true, tokens_per_day: 9 }),
    line("narrow", { adapters: ["acme-*"], max_concurrent: 2, tokens_per_day: 5 }),
    line("over", { adapters: [], expires_at: "2020-01-01T00:00:00Z" }),
  ];
  const own = parseKeys(lines.join("\n"), "k").map(({ key }) => ({ ...key, name: "acme" }));
  const keys = { find: async () => undefined, ofTenant: async () => own };
  const found = await tenantKey({ keys, date: Date.now }, "acme");
  expect(found).toMatchObject({ name: "acme", isAdmin: false, maxConcurrent: 2, tokensPerDay: 5 });
  expect(found.requestsPerMinute).toBeUndefined();
  expect([found.mayUse("acme-1"), found.mayUse("other")]).toEqual([true, false]);
  await expect(tenantKey({ keys, date: () => 0 }, "acme").then((key) => key.mayUse("acme-1"))).resolves.toBe(
    false,
  );
});
