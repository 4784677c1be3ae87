import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { lockChanges } from "mixture-of-shards-core/files";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { ApiError } from "./errors.ts";
import { createQuotas, openQuotas, type Quotas } from "./quotas.ts";

const NOON = Date.UTC(2026, 10, 26, 12);
const HOUR = 3_600_000;
const acme = { name: "acme", tokensPerDay: 100 };

function refusal(
  quotas: Quotas,
  key: Parameters<Quotas["take"]>[0],
  prompt: number,
  answer = 0,
): ApiError["details"] & Error {
  try {
    quotas.take(key, prompt, answer);
  } catch (error) {
    if (error instanceof ApiError) return { ...error.details, name: error.name, message: error.message };
    throw error;
  }
  throw new Error("it was taken");
}

describe("a day's tokens", () => {
  test("are those of prompts and answers, and the next day of UTC begins at none", () => {
    let now = NOON;
    const quotas = createQuotas(() => now);
    quotas.take(acme, 60, 0).add(30);
    expect(quotas.headers(acme)).toEqual({
      "x-ratelimit-limit-tokens": "100",
      "x-ratelimit-remaining-tokens": "10",
      "x-ratelimit-reset-tokens": "12h0m0s",
    });
    expect(refusal(quotas, acme, 11)).toMatchObject({
      status: 429,
      type: "insufficient_quota",
      code: "insufficient_quota",
      retryAfter: 43_200,
      headers: { "x-should-retry": "false", "x-ratelimit-remaining-tokens": "10" },
      message:
        "this key has used 90 of 100 tokens per day, which leaves 10 for a prompt of 11; the next day begins at 2026-11-27T00:00:00.000Z",
    });
    quotas.take(acme, 10, 0).add(5); // of an answer that had begun
    expect(refusal(quotas, acme, 0).message).toContain("has used 105 of 100 tokens per day; the next");
    now += 12 * HOUR - 1;
    expect(() => quotas.take(acme, 1, 0)).toThrow();
    now += 1;
    quotas.take(acme, 100, 0);
  });

  test("of a request that is not accepted are given back, to the day that they were of", () => {
    let now = NOON;
    const quotas = createQuotas(() => now);
    const { giveBack } = quotas.take(acme, 100, 0);
    now += 12 * HOUR;
    quotas.take(acme, 40, 0);
    giveBack();
    expect(quotas.headers(acme)["x-ratelimit-remaining-tokens"]).toBe("60");
    now -= 12 * HOUR;
    expect(quotas.headers(acme)["x-ratelimit-remaining-tokens"]).toBe("100");
  });
});

describe("what answers may take", () => {
  test("is reserved while they are written, of all that is left at most", () => {
    const quotas = createQuotas(() => NOON);
    const first = quotas.take(acme, 10, 60);
    const second = quotas.take(acme, 10, 1000); // of which 20 are left
    const wait = { status: 429, code: "concurrency_limit_exceeded", retryAfter: 1 };
    expect(refusal(quotas, acme, 1)).toMatchObject({
      ...wait,
      message:
        "this key has used 20 of 100 tokens per day, and running requests reserve 80 more; wait for one to finish",
    });
    expect(quotas.headers(acme)["x-ratelimit-remaining-tokens"]).toBe("80");
    first.add(40);
    expect(refusal(quotas, acme, 1)).toMatchObject(wait);
    first.release();
    first.release();
    quotas.take(acme, 5, 0);
    second.add(19);
    second.check();
    second.add(2);
    second.release();
    expect(quotas.headers(acme)["x-ratelimit-remaining-tokens"]).toBe("14");
    quotas.take(acme, 14, 0);
    expect(refusal(quotas, acme, 1)).toMatchObject({ code: "insufficient_quota" });
  });

  test("ends choices that have not begun when it is used up, and not what fits or has no quota", () => {
    const quotas = createQuotas(() => NOON);
    const fitting = quotas.take(acme, 10, 20);
    const more = quotas.take(acme, 10, 1000);
    fitting.add(20);
    fitting.check();
    more.add(60);
    expect(() => more.check()).toThrow(/has used 100 of 100 tokens per day; the next day/);
    const free = quotas.take({ name: "free" }, 1e9, 1e9);
    free.add(1e9);
    free.check();
  });

  test("goes with a request that is not accepted", () => {
    const quotas = createQuotas(() => NOON);
    const share = quotas.take(acme, 10, 1000);
    share.giveBack();
    share.release();
    quotas.take(acme, 100, 0);
  });

  test("a prompt larger than the whole quota is told so, and not to come back", () => {
    const { retryAfter, ...refused } = refusal(
      createQuotas(() => NOON),
      acme,
      101,
    );
    expect([refused.message, refused.code, retryAfter]).toEqual([
      "the prompt has 101 tokens; the quota of this key is 100 per day",
      "insufficient_quota",
      undefined,
    ]);
  });
});

test("a month counts all its days; the tighter quota decides; keys of a name share; others are free", () => {
  let now = NOON;
  const quotas = createQuotas(() => now);
  const both = { ...acme, tokensPerMonth: 150 };
  quotas.take(both, 90, 0);
  now += 24 * HOUR;
  expect(quotas.headers(both)).toMatchObject({
    "x-ratelimit-limit-tokens": "150",
    "x-ratelimit-remaining-tokens": "60",
  });
  expect(refusal(quotas, both, 61).message).toMatch(
    /used 90 of 150 tokens per month, .*begins at 2026-12-01T00/,
  );
  quotas.take({ ...acme, tokensPerDay: 60 }, 60, 0);
  expect(() => quotas.take(both, 1, 0)).toThrow(/per month/);
  const free = { name: "free" };
  quotas.take(free, 1e9, 0);
  expect(quotas.headers(free)).toEqual({});
});

describe("kept in a file,", () => {
  let folder = "";
  let file = "";
  let errors: object[] = [];
  beforeEach(async () => {
    errors = [];
    folder = await mkdtemp(join(tmpdir(), "mos-quotas-"));
    file = join(folder, "usage.json");
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const open = (date = () => NOON) =>
    openQuotas(file, { date, isNeeded: true, log: { error: (fields) => void errors.push(fields) } });
  const left = (quotas: Quotas) => quotas.headers(acme)["x-ratelimit-remaining-tokens"];

  test("counts outlive the server, and go when they are more than two months old", async () => {
    {
      await using quotas = await open();
      quotas.take(acme, 30, 12).add(12);
    }
    expect(JSON.parse(await readFile(file, "utf8"))).toEqual({
      tokens: { "acme 2026-11-26": 42, "acme 2026-11": 42 },
    });
    {
      await using quotas = await open(() => NOON + 24 * HOUR);
      expect(left(quotas)).toBe("100");
      quotas.take(acme, 0, 0).add(1);
    }
    expect(JSON.parse(await readFile(file, "utf8"))).toEqual({
      tokens: { "acme 2026-11-26": 42, "acme 2026-11-27": 1, "acme 2026-11": 43 },
    });
    {
      await using quotas = await open(() => Date.UTC(2027, 1, 1)); // by a clock that may be wrong
      quotas.take(acme, 1, 0);
    }
    expect(JSON.parse(await readFile(file, "utf8"))).toEqual({
      tokens: { "acme 2027-02-01": 1, "acme 2027-02": 1 },
    });
    expect((await readdir(folder)).sort()).toEqual(["usage.json"]);
  });

  test("several servers add to the same counts", async () => {
    await using one = await open();
    await using other = await open();
    one.take(acme, 10, 0);
    other.take(acme, 20, 0);
    await Promise.all([one.save(), other.save()]);
    one.take(acme, 5, 0);
    await one.save();
    await other.save();
    expect([left(one), left(other)]).toEqual(["65", "65"]);
    // what was written once is not added again
    for (let i = 0; i < 3; i++) await Promise.all([one.save(), other.save()]);
    expect([left(one), left(other)]).toEqual(["65", "65"]);
  });

  test("tokens that come while the file is written are neither lost nor counted twice", async () => {
    await using quotas = await open();
    const key = { name: "busy", tokensPerDay: 1e6 };
    const share = quotas.take(key, 0, 0);
    const saves: Promise<void>[] = [];
    for (let i = 0; i < 300; i++) {
      share.add(1);
      if (i % 20 === 0) saves.push(quotas.save());
      if (i % 7 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await Promise.all(saves);
    await quotas.save();
    expect(quotas.headers(key)["x-ratelimit-remaining-tokens"]).toBe(String(1e6 - 300));
    expect(JSON.parse(await readFile(file, "utf8")).tokens["busy 2026-11"]).toBe(300);
  });

  test("a file that is none of these, or that cannot be written, is an error that says what helps", async () => {
    await writeFile(file, '{"tokens": {"acme today": 3}}');
    await expect(open()).rejects.toThrow(/usage\.json.*today|usage\.json: field/);
    await rm(file);
    file = join(folder, "missing", "usage.json");
    await expect(open()).rejects.toThrow(/token counts cannot be saved here: .*--usage-file/);
  });

  test("where writing fails later, counting goes on, the log says so once, and the next time all is written", async () => {
    file = join(folder, "sub", "usage.json");
    await mkdir(join(folder, "sub"));
    await using quotas = await open();
    quotas.take(acme, 10, 0);
    await rm(join(folder, "sub"), { recursive: true });
    await expect(quotas.save()).rejects.toThrow();
    quotas.take(acme, 10, 0);
    await expect(quotas.save()).rejects.toThrow();
    expect([errors.length, left(quotas)]).toEqual([1, "80"]);
    await mkdir(join(folder, "sub"));
    await quotas.save();
    expect(JSON.parse(await readFile(file, "utf8")).tokens["acme 2026-11-26"]).toBe(20);
  });

  test("the end waits for a lock of others for a while only, and the log says what was lost", async () => {
    const quotas = await open();
    quotas.take(acme, 10, 0);
    await using _lock = await lockChanges(folder);
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const end = quotas[Symbol.asyncDispose]();
    await vi.advanceTimersByTimeAsync(5000);
    vi.useRealTimers();
    await end;
    expect(errors.at(-1)).toEqual({
      reason: expect.stringContaining("another process is changing this folder"),
      lost: { "acme 2026-11-26": 10, "acme 2026-11": 10 },
    });
  });
});
