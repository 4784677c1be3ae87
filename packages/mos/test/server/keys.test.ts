// Keys that administrators make and revoke by the API.
import { appendFile, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hashKey, openKeyFile } from "mixture-of-shards-server";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Harness, makeServer } from "../../../server/test/harness.ts";
import { installedServeAddOns, listKeyLimits } from "../../src/cli/add-ons.ts";

const bearer = (key: string) => ({ authorization: `Bearer ${key}` });
const operator = bearer("operator");
const id = (key: string) => hashKey(key).slice(0, 12);
const NONE = {
  admin: false,
  adapters: null,
  requests_per_minute: null,
  max_concurrent: null,
  tokens_per_day: null,
  tokens_per_month: null,
  expires_at: null,
  limits: {},
  is_own: false,
};

let folder = "";
let file = "";
let server: Harness;
let now = Date.parse("2026-11-28T20:00:00Z");
beforeEach(async () => {
  now = Date.parse("2026-11-28T20:00:00Z");
  folder = await mkdtemp(join(tmpdir(), "mos-keys-"));
  file = join(folder, "keys.jsonl");
  const lines = [
    { name: "operator", sha256: hashKey("operator"), admin: true },
    { name: "acme", sha256: hashKey("acme"), adapters: ["acme-*"], tokens_per_day: 500 },
    { name: "limited", sha256: hashKey("limited"), admin: true, adapters: ["acme-*"] },
  ];
  await writeFile(file, lines.map((line) => `${JSON.stringify(line)}\n`).join(""), { mode: 0o600 });
  const limits = listKeyLimits(await installedServeAddOns());
  const log = { info: () => undefined, error: () => undefined };
  const keyFile = await openKeyFile(file, { now: () => now, log, limits });
  server = await makeServer({ server: { keys: keyFile, keyFile, date: () => now } });
});
afterEach(() => rm(folder, { recursive: true }));

const revoke = async (start: string, headers: Record<string, string>) => {
  const response = await server.fetch(`/v1/keys/${start}`, { method: "DELETE", headers });
  return { status: response.status, json: JSON.parse(await response.text()) };
};
const knows = async (key: string) => (await server.send("/v1/models", undefined, bearer(key))).status === 200;

test("the list has limits and the start of hashes, and neither keys nor whole hashes", async () => {
  const { status, json, text } = await server.send("/v1/keys", undefined, operator);
  expect(status).toBe(200);
  const shared = { ...NONE, object: "key", status: "active" };
  expect(json.data).toEqual([
    { ...shared, id: id("operator"), name: "operator", admin: true, is_own: true },
    { ...shared, id: id("acme"), name: "acme", adapters: ["acme-*"], tokens_per_day: 500 },
    { ...shared, id: id("limited"), name: "limited", admin: true, adapters: ["acme-*"] },
  ]);
  for (const key of ["operator", "acme", "limited"]) expect(text).not.toContain(hashKey(key));
  expect(json.limit_fields).toContainEqual({
    group: "fine_tuning",
    name: "max_running_jobs",
    help: "maximum number of jobs that train at the same time",
    expected: "a whole number, 1 or more",
  });
});

test("a new key works at once, with its limits; only the answer has it", async () => {
  const asked = {
    name: "globex",
    adapters: ["globex-*", "shared"],
    requests_per_minute: 60,
    max_concurrent: 4,
    tokens_per_month: 1000,
    expires: "30d",
    limits: { fine_tuning: { max_active_jobs: 8, priority: -1 } },
  };
  const { status, json, headers } = await server.send("/v1/keys", asked, operator);
  expect(status).toBe(201);
  expect(headers.get("cache-control")).toBe("no-store");
  const { expires, ...fields } = asked;
  const { token } = json;
  expect(token).toMatch(/^mos-[\w-]{43}$/);
  const key = {
    ...NONE,
    ...fields,
    id: id(token),
    object: "key",
    status: "active",
    expires_at: "2026-12-28T20:00:00.000Z",
  };
  expect(json).toEqual({ ...key, token });
  expect(await knows(token)).toBe(true);
  const text = await readFile(file, "utf8");
  expect(JSON.parse(text.trimEnd().split("\n").at(-1) ?? "")).toEqual({
    name: "globex",
    sha256: hashKey(token),
    adapters: asked.adapters,
    requests_per_minute: 60,
    max_concurrent: 4,
    tokens_per_month: 1000,
    expires_at: key.expires_at,
    fine_tuning: { max_active_jobs: 8, priority: -1 },
  });
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  const list = await server.send("/v1/keys", undefined, operator);
  expect(list.json.data.at(-1)).toEqual(key);
  expect(list.text + text + JSON.stringify(server.log)).not.toContain(token);
  now += 31 * 86_400_000;
  const later = await server.send("/v1/keys", undefined, operator);
  expect(later.json.data.at(-1)).toMatchObject({ name: "globex", status: "expired" });
});

test("keys that are made at once are all in the file, on lines of their own", async () => {
  await appendFile(file, JSON.stringify({ name: "hand", sha256: hashKey("hand") })); // without a line end
  const made = await Promise.all(
    Array.from({ length: 12 }, (_, i) => server.send("/v1/keys", { name: `k${i}` }, operator)),
  );
  expect(made.map(({ status }) => status)).toEqual(made.map(() => 201));
  const tokens: string[] = made.map(({ json }) => json.token);
  expect(new Set(tokens).size).toBe(12);
  expect(await Promise.all(["hand", ...tokens].map(knows))).not.toContain(false);
  const lines = (await readFile(file, "utf8")).trimEnd().split("\n");
  expect(lines.map((line) => JSON.parse(line).name)).toHaveLength(16);
});

test("a revoked key is refused at once, also where only the start of its hash is given", async () => {
  expect(await knows("acme")).toBe(true);
  const deleted = { id: id("acme"), object: "key", deleted: true };
  expect(await revoke(hashKey("acme").slice(0, 8).toUpperCase(), operator)).toEqual({
    status: 200,
    json: deleted,
  });
  expect(await knows("acme")).toBe(false);
  const before = await readFile(file, "utf8");
  expect(await revoke(id("acme"), operator)).toEqual({ status: 200, json: deleted });
  expect(await readFile(file, "utf8")).toBe(before);
  const { json } = await server.send("/v1/keys", undefined, operator);
  expect(json.data[1]).toMatchObject({ name: "acme", status: "revoked" });
});

test("the last admin key stays, also where administrators revoke each other's at once", async () => {
  const last = { status: 409, json: { error: expect.objectContaining({ code: "last_admin_key" }) } };
  // the other one cannot manage keys
  expect(await revoke(id("operator"), operator)).toEqual(last);
  const short = await server.send("/v1/keys", { name: "short", admin: true, expires: "1h" }, operator);
  now += 2 * 3_600_000;
  expect(await revoke(id("operator"), operator)).toEqual(last);
  expect(await revoke(short.json.id, operator)).toMatchObject({ status: 200 });
  const { json } = await server.send("/v1/keys", { name: "second", admin: true }, operator);
  const both = await Promise.all([revoke(id("operator"), bearer(json.token)), revoke(json.id, operator)]);
  expect(both.map(({ status }) => status).sort()).toEqual([200, 409]);
  const keys = [await knows("operator"), await knows(json.token)];
  expect(keys.filter((known) => known)).toHaveLength(1);
});

test("keys of users and limited administrators may neither see nor change keys", async () => {
  const before = await readFile(file, "utf8");
  for (const key of ["acme", "limited"]) {
    const headers = bearer(key);
    const answers = [
      await server.send("/v1/keys", undefined, headers),
      await server.send("/v1/keys", { name: "mine", admin: true }, headers),
      await revoke(id("operator"), headers),
    ];
    for (const { status, json } of answers)
      expect([status, json.error.code]).toEqual([403, "admin_key_required"]);
  }
  expect((await server.send("/v1/keys")).status).toBe(401);
  expect(await readFile(file, "utf8")).toBe(before);
});

test("without a key file the answer says how to have one", async () => {
  await using open = await makeServer();
  const { status, json } = await open.send("/v1/keys");
  expect([status, json.error.code]).toEqual([404, "no_key_file"]);
  expect(json.error.message).toMatch(/mos keys create --name NAME --admin .*--api-keys keys\.jsonl/);
});

test.each([
  [{}, /"name" is missing/, "name"],
  [{ name: "a b" }, /letters, digits/, "name"],
  [{ name: "a", tokens_per_day: 0 }, /tokens_per_day/, "tokens_per_day"],
  [{ name: "a", expires: "soon" }, /a time from now such as 12h/, "expires"],
  [{ name: "a", expires: "2020-01-01" }, /expires 2020-01-01 is in the past/, null],
  [{ name: "a", requests: 1 }, /unknown field requests/, "requests"],
  [{ name: "a", limits: { other: { x: 1 } } }, /no limits other/, "limits"],
  [{ name: "a", limits: { fine_tuning: { priority: 11 } } }, /limits\.fine_tuning: .*priority/, null],
  [{ name: "a", limits: { fine_tuning: { max_jobs: 1 } } }, /limits\.fine_tuning: .*max_jobs/, null],
])("%j is refused, and changes nothing", async (body, message, param) => {
  const before = await readFile(file, "utf8");
  const { status, json } = await server.send("/v1/keys", body, operator);
  expect([status, json.error.param]).toEqual([400, param]);
  expect(json.error.message).toMatch(message);
  expect(await readFile(file, "utf8")).toBe(before);
});

test("of an id that names no key or several, or a file that is an array, the answer says what is wrong", async () => {
  const alike = ["0", "1"].map((end) => JSON.stringify({ name: "x", sha256: `${"a".repeat(63)}${end}` }));
  await appendFile(file, `${alike.join("\n")}\n`);
  for (const [start, status, message] of [
    ["00000000", 404, /no key 00000000; GET \/v1\/keys/],
    ["0000", 400, /the start of its hash/],
    ["aaaaaaaa", 400, /2 keys start with aaaaaaaa; give more digits/],
  ] as const) {
    const answer = await revoke(start, operator);
    expect(answer.status).toBe(status);
    expect(answer.json.error.message).toMatch(message);
  }
  const lines = (await readFile(file, "utf8")).trimEnd().split("\n");
  await writeFile(file, `[${lines.join(",")}]`);
  const { status, json } = await server.send("/v1/keys", { name: "x" }, operator);
  expect([status, json.error.code]).toEqual([409, "bad_key_file"]);
  expect(json.error.message).toMatch(/keys\.jsonl: cannot append to a JSON array/);
  expect(json.error.message).not.toContain(folder);
});
