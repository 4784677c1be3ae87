// Pages of other origins, and what people find at the address of a server.
import { describe, expect, test } from "vitest";
import type { ServerOptions } from "../src/index.ts";
import { makeServer } from "./harness.ts";

const APP = "https://app.example.com";
const keys: ServerOptions["keys"] = {
  find: async (token) => (token === "k" ? { name: "acme", isAdmin: false, mayUse: () => true } : undefined),
};
const preflight = (origin: string): RequestInit => ({
  method: "OPTIONS",
  headers: {
    origin,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type,x-stainless-lang",
  },
});
const fromPage = (origin: string, more: Record<string, string> = {}) => ({
  origin,
  "sec-fetch-site": "cross-site",
  authorization: "Bearer k",
  ...more,
});
const body = { model: "base", prompt: "x" };

describe("with --cors", () => {
  test("a page of an allowed origin asks first without a key, then sends, and reads ids and limits", async () => {
    await using server = await makeServer({ server: { keys, cors: ["https://other.example", APP] } });
    const asked = await server.fetch("/v1/chat/completions", preflight(APP));
    expect([asked.status, asked.headers.get("access-control-allow-origin")]).toEqual([204, APP]);
    expect(asked.headers.get("access-control-allow-methods")).toContain("DELETE");
    expect(asked.headers.get("access-control-allow-headers")).toContain("authorization");
    expect(asked.headers.get("vary")).toMatch(/origin/i);
    const answer = await server.send("/v1/completions", body, fromPage(APP));
    expect([answer.status, answer.headers.get("access-control-allow-origin")]).toEqual([200, APP]);
    expect(answer.headers.get("access-control-expose-headers")).toContain("x-request-id");
    const streamed = await server.send("/v1/completions", { ...body, stream: true }, fromPage(APP));
    expect([streamed.status, streamed.headers.get("access-control-allow-origin")]).toEqual([200, APP]);
  });

  test("errors can be read by the page, too", async () => {
    await using server = await makeServer({ server: { keys, cors: [APP] } });
    const refused = await server.send("/v1/completions", body, fromPage(APP, { authorization: "Bearer no" }));
    const missing = await server.send("/v1/nothing", undefined, fromPage(APP));
    for (const [{ status, headers }, expected] of [[refused, 401] as const, [missing, 404] as const])
      expect([status, headers.get("access-control-allow-origin")]).toEqual([expected, APP]);
  });

  test("routes of other packages are open to the page, too", async () => {
    const extension: ServerOptions["extension"] = {
      routes: (app) => void app.delete("/v1/files/:id", (context) => context.json({ deleted: true })),
    };
    await using server = await makeServer({ server: { keys, extension, cors: [APP] } });
    const asked = await server.fetch("/v1/files/f", preflight(APP));
    expect([asked.status, asked.headers.get("access-control-allow-origin")]).toEqual([204, APP]);
    const deleted = await server.fetch("/v1/files/f", { method: "DELETE", headers: fromPage(APP) });
    expect([deleted.status, deleted.headers.get("access-control-allow-origin")]).toEqual([200, APP]);
  });

  test("pages of other origins are kept out", async () => {
    await using server = await makeServer({ server: { keys, cors: [APP] } });
    for (const origin of ["https://evil.example", `${APP}.evil.example`, "null"]) {
      const asked = await server.fetch("/v1/chat/completions", preflight(origin));
      expect(asked.headers.get("access-control-allow-origin")).toBeNull();
      const answer = await server.send("/v1/completions", body, fromPage(origin));
      expect([answer.status, answer.json.error.code]).toEqual([403, "wrong_site"]);
    }
  });

  test("* lets all pages in, but none by a wrong name of the server", async () => {
    await using server = await makeServer({ server: { cors: ["*"], hosts: ["localhost"] } });
    const answer = await server.send("/v1/completions", body, fromPage("https://any.example"));
    expect([answer.status, answer.headers.get("access-control-allow-origin")]).toEqual([200, "*"]);
    const rebound = await server.fetch(
      "http://evil.example/v1/completions",
      preflight("https://any.example"),
    );
    expect(rebound.status).toBe(403);
  });
});

test("without it no page is let in, and a browser's question is answered as before", async () => {
  await using server = await makeServer();
  const asked = await server.fetch("/v1/completions", preflight(APP));
  expect(asked.headers.get("access-control-allow-origin")).toBeNull();
  expect((await server.send("/v1/completions", body, fromPage(APP))).status).toBe(403);
});

test("/ leads browsers to the page of routes, and programs to its address", async () => {
  await using server = await makeServer({ server: { keys } });
  const page = await server.fetch("/", { headers: { accept: "text/html,*/*;q=0.8" } });
  expect([page.status, page.headers.get("location")]).toEqual([302, "docs"]);
  const { status, json } = await server.send("/");
  expect([status, json]).toEqual([
    200,
    expect.objectContaining({ model: "base", docs: "docs", openapi: "openapi.json" }),
  ]);
  for (const path of [json.docs, json.openapi, json.health, json.ready])
    expect((await server.send(`/${path}`)).status).toBe(200);
});

test("probes are not logged, unless they are refused; they are counted", async () => {
  await using server = await makeServer({ server: { keys } });
  for (const path of ["/health", "/ready", "/health", "/metrics", "/docs"]) await server.send(path);
  server.engine.isResponding = false;
  expect((await server.send("/health")).status).toBe(503);
  expect(server.log.map(({ fields }) => [fields["path"], fields["status"]])).toEqual([
    ["/metrics", 401],
    ["/docs", 200],
  ]);
  await using open = await makeServer();
  await open.send("/health");
  expect((await open.send("/metrics")).text).toContain(
    'mos_http_requests_total{route="/health",model="none",status="200"} 1',
  );
  expect(open.log).toEqual([]);
});
