// `mos keys`, and a server that reads its file.
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openKeyFile } from "mixture-of-shards-server";
import { afterEach, beforeEach, expect, test } from "vitest";
import { installedServeAddOns, listKeyLimits } from "../../src/cli/add-ons.ts";
import { run } from "../../src/cli/program.ts";
import { expectRefusal, mos } from "../bad-input/run-mos.ts";

let folder = "";
let file = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-keys-"));
  file = join(folder, "keys.jsonl");
});
afterEach(() => rm(folder, { recursive: true, force: true }));

interface Made {
  readonly key: string;
  readonly line: { readonly name: string; readonly sha256: string };
}

async function create(name: string, ...more: readonly string[]): Promise<Made> {
  const { code, stdout } = await mos(["keys", "create", "--name", name, "--append", file, "--json", ...more]);
  expect(code).toBe(0);
  return JSON.parse(stdout);
}
const ring = async () => {
  const limits = listKeyLimits(await installedServeAddOns());
  return openKeyFile(file, { now: () => 0, log: { info: () => {}, error: () => {} }, limits });
};
const isKnown = async ({ key }: Made): Promise<boolean> => (await (await ring()).find(key)) !== undefined;

test("list shows names, limits and the start of hashes, and neither keys nor whole hashes", async () => {
  const acme = await create(
    "acme",
    ...["--adapters", "acme-*", "shared", "--requests-per-minute", "60", "--max-concurrent", "4"],
  );
  const operator = await create("operator", "--admin");
  await mos(["keys", "revoke", file, "--name", "operator"]);
  const text = await mos(["keys", "list", file]);
  expect(text).toMatchObject({ code: 0, stderr: "" });
  const [head, first, second, ...rest] = text.stdout.trimEnd().split("\n");
  expect(head).toMatch(/^name +sha256 +a minute +at a time +adapters$/);
  expect(first).toMatch(/^acme +[0-9a-f]{12} +60 +4 +acme-\* shared$/);
  expect(second).toMatch(/^operator +[0-9a-f]{12} +revoked +– +– +all$/);
  expect(rest).toEqual([]);
  const json = await mos(["keys", "list", file, "--json"]);
  const sha256 = ({ line }: Made) => line.sha256.slice(0, 12);
  const limits = { adapters: ["acme-*", "shared"], requests_per_minute: 60, max_concurrent: 4 };
  expect(JSON.parse(json.stdout)).toEqual({
    keys: [
      { name: "acme", sha256: sha256(acme), ...limits },
      { name: "operator", sha256: sha256(operator), admin: true, revoked: true },
    ],
  });
  for (const { key, line } of [acme, operator])
    for (const secret of [key, line.sha256]) expect(text.stdout + json.stdout).not.toContain(secret);
});

test("limits of fine-tuning are written, and shown where a key has some", async () => {
  const options = { "max-active-jobs": 8, "max-running-jobs": 2, "max-steps-per-job": 500, priority: -1 };
  const given = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const made = await create("acme", ...given, "--max-tokens-per-job", "9", "--max-storage-bytes", "2GB");
  const fine_tuning = {
    max_active_jobs: 8,
    max_running_jobs: 2,
    max_steps_per_job: 500,
    max_tokens_per_job: 9,
    max_storage_bytes: 2e9,
    priority: -1,
  };
  expect(made.line).toEqual({ name: "acme", sha256: made.line.sha256, fine_tuning });
  expect((await (await ring()).find(made.key))?.limits).toEqual({ fine_tuning });
  await create("other");
  const [head, first, second] = (await mos(["keys", "list", file])).stdout.split("\n");
  expect(head).toMatch(/ adapters {2}fine-tuning$/);
  expect(first).toMatch(
    / all {7}max_active_jobs 8, max_running_jobs 2, .*max_storage_bytes 2000000000, priority -1$/,
  );
  expect(second).toMatch(/ all$/);
  for (const wrong of [
    { max_running_jobs: 0 },
    { priority: 11 },
    { max_steps_per_job: 1.5 },
    { max_jobs: 1 },
  ]) {
    await writeFile(file, JSON.stringify({ ...made.line, fine_tuning: wrong }));
    await expect(ring(), JSON.stringify(wrong)).rejects.toThrowError(/keys\.jsonl:1: /);
  }
});

test("without the package of fine-tuning, its limits are accepted in a key file", () => {
  expect(listKeyLimits([])).toEqual([{ name: "fine_tuning" }]);
});

test("revoke takes all keys of a name, or one by its hash; the other lines stay as they were", async () => {
  const [old, renewed, other] = [await create("acme"), await create("acme"), await create("other")];
  const before = (await readFile(file, "utf8")).trimEnd();
  await writeFile(file, before, { mode: 0o600 }); // without a final line end, as some editors leave it
  const one = await mos(["keys", "revoke", file, "--sha256", old.line.sha256.slice(0, 8).toUpperCase()]);
  expect(one).toEqual({ code: 0, stderr: "", stdout: `revoked   acme  ${old.line.sha256.slice(0, 12)}\n` });
  expect(await Promise.all([old, renewed, other].map(isKnown))).toEqual([false, true, true]);
  expect(await readFile(file, "utf8")).toMatch(`${before}\n{`);
  expect((await stat(file)).mode & 0o777).toBe(0o600);

  const all = await mos(["keys", "revoke", file, "--name", "acme", "--json"]);
  const sha256 = renewed.line.sha256.slice(0, 12);
  expect(JSON.parse(all.stdout)).toEqual({ revoked: [{ name: "acme", sha256 }] });
  expect(await Promise.all([old, renewed, other].map(isKnown))).toEqual([false, false, true]);
  const after = await readFile(file, "utf8");
  const again = await mos(["keys", "revoke", file, "--name", "acme"]);
  expect(again).toMatchObject({ code: 0, stdout: "nothing to do: 2 keys already revoked\n" });
  expect(await readFile(file, "utf8")).toBe(after);
});

test("a running server refuses a revoked key within a second", async () => {
  const made = await create("acme");
  let now = 0;
  const running = await openKeyFile(file, { now: () => now, log: { info: () => {}, error: () => {} } });
  expect((await running.find(made.key))?.name).toBe("acme");
  await mos(["keys", "revoke", file, "--name", "acme"]);
  now = 1000;
  expect(await running.find(made.key)).toBeUndefined();
});

test("a command that fails gives the reason and changes nothing", async () => {
  await create("acme");
  const array = join(folder, "array.json");
  await writeFile(array, `[${(await readFile(file, "utf8")).trim()}]`);
  const broken = join(folder, "broken.jsonl");
  await writeFile(broken, '{"name": "x", "key": "mos-secret"}\n');
  // two hashes with a common prefix
  const alike = join(folder, "alike.jsonl");
  const hashes = ["0", "1"].map((end) => `${"a".repeat(63)}${end}`);
  await writeFile(alike, hashes.map((sha256) => JSON.stringify({ name: "x", sha256 })).join("\n"));
  const cases: readonly (readonly [args: readonly string[], code: 1 | 2, message: RegExp])[] = [
    [[], 2, /missing required argument 'action'/],
    [["remove"], 2, /'remove' is not a valid action; expected one of create, list, revoke/],
    [["create"], 2, /--name is required: the tenant that owns the key/],
    [["create", file, "--name", "x"], 2, /create takes no file; use --name .* or --append/],
    [["create", "--name", "x", "--sha256", "0123abcd"], 2, /--sha256 cannot be used with mos keys create/],
    [["create", "--name", "x", "--append", array], 1, /cannot append to a JSON array/],
    [["list"], 2, /the key file is missing: mos keys list keys\.jsonl/],
    [["list", file, "--name", "acme"], 2, /--name cannot be used with mos keys list/],
    [["list", join(folder, "none")], 1, /none: no such file/],
    [["list", broken], 1, /broken\.jsonl:1: /],
    [["revoke", file], 2, /--name or --sha256 is required: --name NAME/],
    [["revoke", file, "--name", "acme", "--max-concurrent", "1"], 2, /--max-concurrent cannot be used with/],
    [["revoke", file, "--name", "nobody"], 1, /no key named nobody; mos keys list/],
    [["revoke", file, "--sha256", "00000000"], 1, /no key 00000000…/],
    [["revoke", file, "--sha256", "0000"], 2, /at least 8/],
    [["revoke", alike, "--sha256", "aaaaaaaa"], 2, /matches 2 keys; give more digits/],
    [["revoke", array, "--name", "acme"], 1, /cannot append to a JSON array/],
  ];
  for (const [args, code, message] of cases)
    await expectRefusal(["keys", ...args], { code, message, untouched: folder });
});

test("a new key gets a line of its own, also where the file has no final line end", async () => {
  const append = (name: string) => run(["keys", "create", "--name", name, "--append", file, "--json"]);
  expect(await append("first")).toBe(0);
  await writeFile(file, (await readFile(file, "utf8")).trimEnd());
  expect(await append("second")).toBe(0);
  const lines = (await readFile(file, "utf8")).trimEnd().split("\n");
  expect(lines.map((line) => JSON.parse(line).name)).toEqual(["first", "second"]);
  await writeFile(file, "[]\n");
  expect(await append("third")).toBe(1);
  expect(await readFile(file, "utf8")).toBe("[]\n");
});

test("mos serve listens for other machines only with keys, or with --no-keys", async () => {
  expect(await run(["serve", "--model", "assets/tiny-english", "--host", "0.0.0.0"])).toBe(2);
  await writeFile(file, '{"name": "x"}\n');
  expect(
    await run(["serve", "--model", "assets/tiny-english", "--host", "0.0.0.0", "--api-keys", file]),
  ).toBe(1);
  expect(await run(["serve", "--model", "assets/tiny-english", "--no-keys", "--api-keys", file])).toBe(2);
});

test("--expires and token quotas are written, kept by the server's file, and shown where a key has some", async () => {
  const before = Date.now();
  const trial = await create("trial", "--expires", "30d", "--tokens-per-day", "100000");
  const line = trial.line as Made["line"] & { readonly expires_at: string };
  const days = (Date.parse(line.expires_at) - before) / 86_400_000;
  expect(days).toBeGreaterThanOrEqual(30);
  expect(days).toBeLessThan(30.01);
  const dated = await create("dated", "--expires", "2999-01-31", "--tokens-per-month", "5000000");
  expect(dated.line).toMatchObject({ expires_at: "2999-01-31T00:00:00.000Z", tokens_per_month: 5_000_000 });
  const found = await (await ring()).find(trial.key);
  expect(found).toMatchObject({ tokensPerDay: 100_000, expiresAt: Date.parse(line.expires_at) });
  const old = JSON.stringify({ name: "old", sha256: "0".repeat(64), expires_at: "2020-01-01T00:00:00Z" });
  await writeFile(file, `${await readFile(file, "utf8")}${old}\n`);
  const [head, first, second, third] = (await mos(["keys", "list", file])).stdout.split("\n");
  expect(head).toMatch(/ adapters +tokens a day +a month +expires$/);
  expect(first).toMatch(/^trial .* all +100,000 +20\d\d-.*Z$/);
  expect(second).toMatch(/^dated .* all +5,000,000 +2999-01-31T00:00:00\.000Z$/);
  expect(third).toMatch(/^old +0{12} +expired /);
});

test.each([
  ["2020-01-01", /--expires 2020-01-01 is in the past/],
  ["2027-02-31T00:00:00Z", /--expires .*: no such date or time/],
  ["soon", /--expires.*Expected a time from now such as 12h/],
  ["0d", /is in the past/],
])("--expires %s is refused", async (when, message) => {
  const { code, stderr } = await mos(["keys", "create", "--name", "a", "--append", file, "--expires", when]);
  expect(code).toBe(2);
  expect(stderr).toMatch(message);
  await expect(stat(file)).rejects.toThrow();
});
