import { afterEach, describe, expect, test, vi } from "vitest";
import { api, toUrl } from "./client.ts";
import { connection } from "./connection.ts";
import { isSignedIn, needsKey, signIn } from "./session.ts";

afterEach(() => {
  vi.restoreAllMocks();
  connection.value = "up";
  needsKey.value = false;
  isSignedIn.value = false;
});

const json = (body: unknown, status = 200) =>
  new Response(JSON.stringify(body), {
    status,
    headers: { "content-type": "application/json", "x-request-id": "r1" },
  });

const answer = (...answers: readonly (Response | Error)[]) => {
  const left = [...answers];
  return vi.spyOn(globalThis, "fetch").mockImplementation(async () => {
    const next = left.shift();
    if (next instanceof Response) return next;
    throw next ?? new Error("one request too many");
  });
};

describe("requests", () => {
  test("are relative to the page, with what is given in their place", () => {
    expect(toUrl("/v1/models/{model}", { params: { model: "a/b c" } })).toBe("../v1/models/a%2Fb%20c");
    expect(toUrl("/v1/files", { query: { limit: 5, after: undefined, purpose: "a&b" } })).toBe(
      "../v1/files?limit=5&purpose=a%26b",
    );
    expect(toUrl("./config.json")).toBe("./config.json");
  });

  test("send JSON, forms as they are, and the mark of this page", async () => {
    const sent = answer(json({ ok: true }), json({ ok: true }), new Response(null, { status: 204 }));
    await api.send("POST", "/v1/x", { body: { a: 1 } });
    const form = new FormData();
    await api.send("POST", "/v1/x", { body: form });
    expect(await api.send("DELETE", "/v1/x")).toBeUndefined();
    const [first, second, third] = sent.mock.calls.map(([, init]) => init);
    expect(first).toMatchObject({
      method: "POST",
      body: '{"a":1}',
      headers: { "content-type": "application/json", "x-mos-session": "1" },
    });
    expect(second).toMatchObject({ body: form });
    expect(second?.headers).not.toHaveProperty("content-type");
    expect(third?.headers).toEqual({ "x-mos-session": "1" });
  });

  test("throw what the API says is wrong", async () => {
    answer(json({ error: { message: "no model x", code: "not_found", param: "model" } }, 404));
    await expect(api.get("/v1/models")).rejects.toMatchObject({
      message: "no model x",
      status: 404,
      code: "not_found",
      param: "model",
      requestId: "r1",
    });
    answer(new Response("<html>", { status: 500 }));
    await expect(api.get("/v1/models")).rejects.toMatchObject({
      message: "the server answered with status 500",
    });
  });

  test("say that the server is away, and proxies that cannot reach it", async () => {
    for (const away of [new TypeError("failed to fetch"), new Response("<html>", { status: 502 })]) {
      vi.useFakeTimers();
      answer(away, json({}));
      await expect(api.get("/v1/models")).rejects.toMatchObject({ message: "the server cannot be reached" });
      expect(connection.value).toBe("away");
      await vi.advanceTimersByTimeAsync(500);
      expect(connection.value).toBe("up");
      vi.useRealTimers();
      vi.restoreAllMocks();
    }
  });

  test("that need a key wait until somebody has signed in", async () => {
    const sent = answer(json({ error: {} }, 401), json({}), json({ data: [] }));
    const models = api.get("/v1/models");
    await expect.poll(() => needsKey.value).toBe(true);
    expect(sent).toHaveBeenCalledTimes(1);
    await signIn("sk-1");
    expect(sent.mock.calls[1]).toMatchObject(["./session", { method: "POST", body: '{"key":"sk-1"}' }]);
    expect(await models).toEqual({ data: [] });
    expect([needsKey.value, isSignedIn.value]).toEqual([false, true]);
  });

  test("a wrong key leaves the question open, and a cancelled request does not wait", async () => {
    answer(json({ error: {} }, 401), json({ error: { message: "unknown key" } }, 401));
    const cancelled = new AbortController();
    const models = api.get("/v1/models", { signal: cancelled.signal });
    await expect.poll(() => needsKey.value).toBe(true);
    await expect(signIn("sk-2")).rejects.toMatchObject({ message: "unknown key" });
    expect(needsKey.value).toBe(true);
    cancelled.abort();
    await expect(models).rejects.toMatchObject({ name: "AbortError" });
  });
});
