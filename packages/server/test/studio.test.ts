// The studio's files, and its session: what the page may do, and what another origin's page, or another tenant, may not.
import { cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ServerOptions } from "../src/index.ts";
import { readStudio, type Studio } from "../src/studio-page.ts";
import { makeServer } from "./harness.ts";

const HERE = "http://localhost";
const EVIL = "https://evil.example";
const OWN = { "x-mos-session": "1", "sec-fetch-site": "same-origin", origin: HERE };
const keys: ServerOptions["keys"] = {
  find: async (token) =>
    token === "acme" || token === "boss"
      ? { name: token, isAdmin: token === "boss", mayUse: (adapter) => adapter.startsWith(token) }
      : undefined,
};
const SCRIPT = "console.log(1);".repeat(100);
let folder: string;
let studio: Studio | undefined;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-page-"));
  await mkdir(join(folder, "assets"));
  await writeFile(join(folder, "index.html"), "<!doctype html><title>Studio</title>");
  await writeFile(join(folder, "assets/index-Bx3_k-9a.js"), SCRIPT);
  await cp("assets/quickstart/train.jsonl", join(folder, "example/train.jsonl"));
  await writeFile(join(folder, "notes.txt"), "not a part of the page");
  studio = await readStudio(folder);
});
afterAll(() => rm(folder, { recursive: true }));

const serving = (server: Partial<ServerOptions> = {}) => makeServer({ server: { studio, ...server } });

describe("the page", () => {
  test("has a strict policy, and is asked for again; / and /studio lead to it", async () => {
    await using server = await serving();
    const { status, headers, text } = await server.send("/studio/");
    expect([status, text]).toEqual([200, "<!doctype html><title>Studio</title>"]);
    expect(headers.get("content-security-policy")).toBe(
      "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
        "font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    );
    expect(Object.fromEntries(headers)).toMatchObject({
      "content-type": "text/html; charset=utf-8",
      "cache-control": "no-cache",
      "cross-origin-opener-policy": "same-origin",
      "x-content-type-options": "nosniff",
      "referrer-policy": "same-origin",
    });
    const again = await server.send("/studio/", undefined, { "if-none-match": headers.get("etag") ?? "" });
    expect([again.status, again.text]).toEqual([304, ""]);
    const root = await server.fetch("/", { headers: { accept: "text/html" } });
    expect([root.status, root.headers.get("location")]).toEqual([302, "studio/"]);
    const before = await server.send("/studio");
    expect([before.status, before.headers.get("location")]).toEqual([302, "studio/"]);
  });

  test("files with a hash in their name stay with the browser, and are compressed if it wants", async () => {
    await using server = await serving();
    const path = "/studio/assets/index-Bx3_k-9a.js";
    const plain = await server.send(path);
    expect([plain.text, plain.headers.get("content-encoding")]).toEqual([SCRIPT, null]);
    expect(plain.headers.get("cache-control")).toBe("public, max-age=31536000, immutable");
    const zipped = await server.fetch(path, { headers: { "accept-encoding": "br, gzip" } });
    expect([zipped.headers.get("content-encoding"), zipped.headers.get("vary")]).toEqual([
      "gzip",
      "accept-encoding",
    ]);
    const unzipped = new Response(zipped.body?.pipeThrough(new DecompressionStream("gzip")));
    expect(await unzipped.text()).toBe(SCRIPT);
  });

  test("its files have no line in the log, and what is refused has one", async () => {
    await using server = await serving();
    for (const path of ["", "assets/index-Bx3_k-9a.js", "assets/none.js"])
      await server.send(`/studio/${path}`);
    expect(server.log.map(({ fields }) => [fields["path"], fields["status"]])).toEqual([
      ["/studio/assets/none.js", 404],
    ]);
  });

  test("nothing else is sent, however it is asked for", async () => {
    await using server = await serving();
    for (const path of [
      "notes.txt",
      "..%2fpackage.json",
      "%2e%2e/package.json",
      "assets",
      "assets/",
      "//etc/passwd",
      "a".repeat(9000),
    ]) {
      const { status, json } = await server.send(`/studio/${path}`);
      expect([path, status, json.error.code]).toEqual([path, 404, "unknown_url"]);
    }
    expect((await server.send("/studio/", {})).status).toBe(405);
  });

  test("has the quickstart's data to try", async () => {
    await using server = await serving();
    const { status, headers, text } = await server.send("/studio/example/train.jsonl");
    expect([status, headers.get("content-type")]).toEqual([200, "text/plain; charset=utf-8"]);
    expect(JSON.parse(text.split("\n", 1)[0] ?? "")).toHaveProperty("messages");
  });

  test("without a build says what to do, and a server without the page has no such route", async () => {
    await using server = await serving({ studio: await readStudio(join(folder, "missing")) });
    const { status, text } = await server.send("/studio/");
    expect([status, text]).toEqual([404, expect.stringContaining("run npm run build")]);
    await using bare = await makeServer();
    for (const path of ["/studio", "/studio/", "/studio/config.json"])
      expect((await bare.send(path)).json.error.code).toBe("unknown_url");
  });
});

describe("a session", () => {
  const begin = async (server: Awaited<ReturnType<typeof serving>>, key: string, headers = {}) => {
    const answer = await server.send("/studio/session", { key }, { ...OWN, ...headers });
    const cookie = answer.headers.get("set-cookie") ?? "";
    return { answer, cookie, sent: { cookie: cookie.split(";", 1)[0] ?? "" } };
  };

  test("keeps the key in a cookie that no script reads and no other site's request has", async () => {
    await using server = await serving({ keys });
    const { answer, cookie } = await begin(server, "acme");
    expect([answer.status, answer.json]).toEqual([200, { tenant: "acme", isAdmin: false }]);
    expect(cookie).toBe("mos_session=acme; Path=/; HttpOnly; SameSite=Strict");
    const proxied = { referer: "https://example.com/llm/studio/", origin: "https://example.com" };
    expect((await begin(server, "acme", proxied)).cookie).toBe(
      "mos_session=acme; Path=/llm/; HttpOnly; Secure; SameSite=Strict",
    );
    const ended = await server.fetch("/studio/session", { method: "DELETE", headers: OWN });
    expect(ended.headers.get("set-cookie")).toMatch(/^mos_session=; Max-Age=0; Path=\/;/);
  });

  test.each([
    ["/a;b/llm/studio/", "/"],
    ["/llm/a;b/studio/", "/llm/"],
    ["/studio/;", "/"],
  ])("is kept for a page at %s below %s", async (page, path) => {
    await using server = await serving({ keys });
    const { answer, cookie } = await begin(server, "acme", { referer: `http://localhost${page}` });
    expect([answer.status, cookie]).toEqual([
      200,
      `mos_session=acme; Path=${path}; HttpOnly; SameSite=Strict`,
    ]);
  });

  test("does not begin with a wrong key, or for another page", async () => {
    await using server = await serving({ keys });
    const wrong = await begin(server, "wrong");
    expect([wrong.answer.status, wrong.cookie]).toEqual([401, ""]);
    for (const key of ["", "two words", "a;Path=/", 1])
      expect((await server.send("/studio/session", { key }, OWN)).status).toBe(
        key === "a;Path=/" ? 401 : 400,
      );
    for (const headers of [
      { origin: EVIL, "sec-fetch-site": "cross-site" },
      { "sec-fetch-site": "same-site" },
      { "x-mos-session": "" },
    ])
      expect((await begin(server, "acme", headers)).answer.status).toBe(403);
  });

  test("signs the page's requests, to what its key may see", async () => {
    await using server = await serving({ keys });
    const { sent } = await begin(server, "acme");
    expect((await server.send("/v1/models", undefined, { ...OWN, ...sent })).status).toBe(200);
    const refused = await server.send("/metrics", undefined, { ...OWN, ...sent });
    expect(refused.json.error.code).toBe("admin_key_required");
    const boss = await begin(server, "boss");
    expect((await server.send("/metrics", undefined, { ...OWN, ...boss.sent })).status).toBe(200);
    const settings = (headers: Record<string, string>) =>
      server.send("/studio/config.json", undefined, headers);
    expect((await settings({ ...OWN, ...boss.sent })).json).toMatchObject({
      ...{ model: "base", needsKey: true, signedIn: true, tenant: "boss", isAdmin: true },
    });
    expect((await settings(OWN)).json).toMatchObject({
      signedIn: false,
      isRefused: false,
      tenant: null,
      isAdmin: false,
    });
    const revoked = { ...OWN, cookie: "mos_session=gone" };
    expect((await settings(revoked)).json).toMatchObject({ signedIn: false, isRefused: true, tenant: null });
    expect((await server.send("/v1/models", undefined, revoked)).status).toBe(401);
    // a key that is sent counts more than the session
    const other = { ...OWN, ...boss.sent, authorization: "Bearer acme" };
    expect((await settings(other)).json.tenant).toBe("acme");
  });

  test.each<readonly [name: string, headers: Record<string, string>]>([
    ["without the page's header", { "sec-fetch-site": "same-origin" }],
    ["with another value of it", { "x-mos-session": "true", "sec-fetch-site": "same-origin" }],
    ["of another site", { "x-mos-session": "1", "sec-fetch-site": "cross-site", origin: EVIL }],
    ["of another port or subdomain", { "x-mos-session": "1", "sec-fetch-site": "same-site" }],
    ["typed into the address", { "x-mos-session": "1", "sec-fetch-site": "none" }],
    ["of another origin, by a browser that says no more", { "x-mos-session": "1", origin: EVIL }],
    ["of another port, likewise", { "x-mos-session": "1", origin: `${HERE}:81` }],
    ["of a sandboxed frame", { "x-mos-session": "1", origin: "null" }],
  ])("is not looked at in requests %s", async (_, headers) => {
    for (const cors of [undefined, ["*"], [EVIL]]) {
      await using server = await serving({ keys, cors });
      const sent = { cookie: "mos_session=acme", ...headers };
      const read = await server.send("/v1/models", undefined, sent);
      expect(read.status).toBe(401);
      const acted = await server.send("/v1/completions", { model: "base", prompt: "x" }, sent);
      expect([401, 403]).toContain(acted.status);
      // even with --cors, a browser does not show another page what an answer with cookies says
      expect(read.headers.get("access-control-allow-credentials")).toBeNull();
      const left = await server.fetch("/studio/session", { method: "DELETE", headers: sent });
      expect(left.status).toBe(403);
    }
  });

  test("is told from others by the host where browsers send nothing else", async () => {
    await using server = await serving({ keys });
    const sent = { cookie: "mos_session=acme", "x-mos-session": "1", host: "10.0.0.5:8080" };
    const status = async (origin?: string) =>
      (await server.send("/v1/models", undefined, origin === undefined ? sent : { ...sent, origin })).status;
    expect([await status(), await status("http://10.0.0.5:8080"), await status("http://10.0.0.5")]).toEqual([
      200, 200, 401,
    ]);
  });

  test("is not needed where the server has no keys", async () => {
    await using server = await serving();
    const { answer, cookie } = await begin(server, "anything");
    expect([answer.json, cookie]).toEqual([{ tenant: null, isAdmin: true }, ""]);
  });
});
