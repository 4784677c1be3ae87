// Keys that expire, their token quotas, and what /metrics says of each.
import OpenAI from "openai";
import { beforeEach, describe, expect, test } from "vitest";
import type { ApiKey } from "../src/index.ts";
import { type Harness, makeServer } from "./harness.ts";

const END = Date.UTC(2027, 0, 1);
let date = END - 60_000;
const known: Readonly<Record<string, ApiKey>> = {
  acme: { name: "acme", isAdmin: false, tokensPerDay: 40, mayUse: () => true },
  trial: { name: "trial", isAdmin: false, expiresAt: END, mayUse: () => true },
  slow: { name: "slow", isAdmin: false, requestsPerMinute: 2, mayUse: () => true },
  operator: { name: "operator", isAdmin: true, mayUse: () => true },
};
const open = (): Promise<Harness> =>
  makeServer({
    server: { date: () => date, keys: { find: async (token) => known[token] } },
  });
const bearer = (key: string) => ({ authorization: `Bearer ${key}` });
const ask = (server: Harness, key: string, more: object = {}) =>
  server.send("/v1/completions", { model: "base", prompt: [1, 2, 3], max_tokens: 5, ...more }, bearer(key));
beforeEach(() => {
  date = END - 60_000;
});

test("a key that has expired gets 401 and is told so", async () => {
  await using server = await open();
  expect((await ask(server, "trial")).status).toBe(200);
  date = END;
  const refused = await ask(server, "trial");
  expect([refused.status, refused.json.error.code, refused.json.error.type]).toEqual([
    401,
    "expired_api_key",
    "authentication_error",
  ]);
  expect(refused.json.error.message).toContain("expired at 2027-01-01T00:00:00.000Z");
  expect((await server.send("/metrics", undefined, bearer("trial"))).status).toBe(401);
});

test("a key with a rate limit is told what is left of it, with every answer", async () => {
  await using server = await open();
  const left = async (model?: string) => {
    const { status, headers } = await ask(server, "slow", model === undefined ? {} : { model });
    const [limit, remaining] = ["limit", "remaining"].map((what) =>
      headers.get(`x-ratelimit-${what}-requests`),
    );
    return [status, limit, remaining];
  };
  expect([await left(), await left("none"), await left()]).toEqual([
    [200, "2", "1"],
    [404, "2", "0"],
    [429, "2", "0"],
  ]);
  expect((await ask(server, "trial")).headers.get("x-ratelimit-limit-requests")).toBeNull();
});

describe("a key with a quota", () => {
  test("is refused as OpenAI does, and served again the next day", async () => {
    await using server = await open();
    const remaining: (string | null)[] = [];
    for (let i = 0; i < 5; i++)
      remaining.push((await ask(server, "acme")).headers.get("x-ratelimit-remaining-tokens"));
    // before each answer, and after its prompt of 3
    expect(remaining).toEqual(["37", "29", "21", "13", "5"]);
    const refused = await ask(server, "acme");
    expect([refused.status, refused.json.error]).toEqual([
      429,
      {
        type: "insufficient_quota",
        code: "insufficient_quota",
        param: null,
        message: expect.stringContaining(
          "has used 40 of 40 tokens per day; the next day begins at 2027-01-01",
        ),
      },
    ]);
    expect(refused.headers.get("retry-after")).toBe("60");
    expect(refused.headers.get("x-ratelimit-reset-tokens")).toBe("1m0s");
    expect((await ask(server, "trial")).headers.get("x-ratelimit-limit-tokens")).toBeNull();
    date = END;
    expect((await ask(server, "acme")).status).toBe(200);
  });

  test("does not pay for a request that is not accepted", async () => {
    await using server = await open();
    for (let i = 0; i < 20; i++) expect((await ask(server, "acme", { model: "none" })).status).toBe(404);
    server.engine.submit = () => {
      throw new Error("no");
    };
    for (let i = 0; i < 20; i++) expect((await ask(server, "acme")).status).toBe(500);
    expect((await ask(server, "acme")).status).toBe(500);
  });

  test("pays for a stream while it runs", async () => {
    await using server = await open();
    server.engine.hold(4);
    const stream = ask(server, "acme", { stream: true, prompt: Array(34).fill(1) });
    await expect.poll(() => server.engine.running).toBe(1);
    expect((await ask(server, "acme")).status).toBe(429); // 34 and its answer so far leave no room for 3
    server.engine.release();
    expect((await stream).text).toContain("[DONE]");
  });

  test("is not passed by many answers of one request, or by requests at the same time", async () => {
    await using server = await open();
    const answer = await ask(server, "acme", { n: 60 });
    expect([answer.status, answer.json.error.code]).toEqual([429, "insufficient_quota"]);
    const { text } = await server.send("/metrics", undefined, bearer("operator"));
    const total = Number(/kind="completion",key="acme"\} (\d+)/.exec(text)?.[1]);
    expect(total).toBeGreaterThanOrEqual(37);
    expect(total).toBeLessThanOrEqual(37 + 16 * 5);
    date = END; // the next day
    server.engine.hold();
    let answered = 0;
    const asking = Array.from({ length: 20 }, async () => {
      const answer = await ask(server, "acme");
      answered++;
      return answer;
    });
    await expect.poll(() => [answered, server.engine.running]).toEqual([15, 5]);
    server.engine.release();
    const all = await Promise.all(asking);
    expect(all.filter(({ status }) => status === 200)).toHaveLength(5);
    const refused = all.filter(({ status }) => status === 429).map(({ json }) => json.error.code);
    expect(new Set(refused)).toEqual(new Set(["concurrency_limit_exceeded"]));
  });

  test("is not asked again by OpenAI's client", async () => {
    await using server = await open();
    for (let i = 0; i < 5; i++) await ask(server, "acme");
    let asked = 0;
    const client = new OpenAI({
      baseURL: "http://localhost/v1",
      apiKey: "acme",
      fetch: (url, init) => {
        asked++;
        return server.fetch(new URL(String(url)).pathname, init);
      },
    });
    const answer = client.completions.create({ model: "base", prompt: "x" });
    await expect(answer).rejects.toThrow(OpenAI.RateLimitError);
    expect(asked).toBe(1);
  });
});

test("/metrics counts requests and tokens by key, and never shows a key", async () => {
  await using server = await open();
  await ask(server, "acme");
  await ask(server, "acme", { model: "none" });
  await ask(server, "trial");
  await ask(server, "acme", { prompt: Array(50).fill(1) }); // more than its quota: refused, and no tokens
  const { text } = await server.send("/metrics", undefined, bearer("operator"));
  for (const line of [
    'mos_key_requests_total{key="acme",status="200"} 1',
    'mos_key_requests_total{key="acme",status="404"} 1',
    'mos_key_requests_total{key="acme",status="429"} 1',
    'mos_key_requests_total{key="trial",status="200"} 1',
    'mos_key_tokens_total{kind="prompt",key="acme"} 3',
    'mos_key_tokens_total{kind="cached",key="acme"} 2',
    'mos_key_tokens_total{kind="completion",key="acme"} 5',
  ])
    expect(text).toContain(line);
});

test("keys beyond the first thousand share a label", async () => {
  const find = async (name: string): Promise<ApiKey> => ({ name, isAdmin: true, mayUse: () => true });
  await using server = await makeServer({ server: { keys: { find } } });
  for (let i = 0; i < 1003; i++) await server.send("/v1/models", undefined, bearer(`k${i}`));
  const { text } = await server.send("/metrics", undefined, bearer("k0"));
  expect(text).toContain('mos_key_requests_total{key="other",status="200"} 3');
  expect(text.match(/^mos_key_requests_total\{/gm)).toHaveLength(1001);
});
