// Signing in, and what other pages of the same browser may do with that: nothing, even where --cors lets in every origin.
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type StudioServer, startServer } from "./server.ts";
import { keyFor, openStudio } from "./studio.ts";

let server: StudioServer;
/** Another program on this machine, whose page is of another origin, on the same site or not. */
const other = createServer((_, response) =>
  response.setHeader("content-type", "text/html").end("<p>other</p>"),
);

beforeAll(async () => {
  server = await startServer({ keys: true, state: true, more: ["--cors", "*"] });
  await once(other.listen(0, "127.0.0.1"), "listening");
});
afterAll(async () => {
  other.close();
  await server[Symbol.asyncDispose]();
});

/** Sends a request as a page's script does: the status, or that the page may not know. */
const fromPage = (page: Page, path: string, init: object): Promise<number | string> =>
  page.evaluate(`fetch(${JSON.stringify(`${server.address}${path}`)}, ${JSON.stringify(init)})
    .then(({ status }) => status, (error) => error.name)`);

test("somebody signs in, stays so, and signs out", async () => {
  await using studio = await openStudio({ server });
  studio.allow(/request: 401/);
  await studio.see("Sign in");
  await studio.fill("API key", "wrong");
  await studio.click("Sign in");
  await studio.see("invalid API key");
  await studio.fill("API key", keyFor("acme"));
  await studio.click("Sign in");
  await studio.gone("API key");
  expect(
    await studio.page.evaluate("document.cookie + JSON.stringify({ ...localStorage, ...sessionStorage })"),
  ).not.toContain(keyFor("acme"));
  await studio.page.reload();
  await studio.click("Sign out");
  await studio.see("API key");
});

test("a tenant sees its own files alone", async () => {
  await using studio = await openStudio({ server, as: "acme" });
  for (const as of ["acme", "globex"]) {
    const form = new FormData();
    form.set("purpose", "fine-tune");
    form.set("file", new Blob(['{"prompt": "a", "completion": "b"}\n']), `of-${as}.jsonl`);
    await studio.api("/v1/files", form, { as });
  }
  const seen = await studio.page.evaluate(
    "fetch('../v1/files', { headers: { 'x-mos-session': '1' } }).then((answer) => answer.json())",
  );
  expect((seen as { data: { filename: string }[] }).data.map(({ filename }) => filename)).toEqual([
    "of-acme.jsonl",
  ]);
});

test.each(["127.0.0.1", "localhost"])(
  "a page of another origin, at %s, can neither read nor act",
  async (host) => {
    await using studio = await openStudio({ server, as: "admin" });
    const page = await studio.page.context().newPage();
    await page.goto(`http://${host}:${(other.address() as AddressInfo).port}/`);
    const header = { "x-mos-session": "1" };
    const credentials = "include";
    // a browser refuses what needs leave to send the cookie; without it, there is no key
    expect(await fromPage(page, "/v1/keys", { credentials, headers: header })).toBe("TypeError");
    expect(await fromPage(page, "/v1/keys", { headers: header })).toBe(401);
    expect(await fromPage(page, "/v1/keys", { credentials, mode: "no-cors" })).toBe(0);
    // what is sent unasked, as forms do
    const text = { "content-type": "text/plain" };
    const body = JSON.stringify({ name: "stolen" });
    for (const path of ["/v1/keys", "/studio/session"])
      await fromPage(page, path, { method: "POST", mode: "no-cors", credentials, headers: text, body });
    await fromPage(page, "/studio/session", { method: "DELETE", credentials, headers: header });
    const { data } = await studio.api("/v1/keys");
    expect(data.map(({ name }: { name: string }) => name).toSorted()).toEqual(["acme", "admin", "globex"]);
    const stays = await studio.page.evaluate(
      "fetch('./config.json', { headers: { 'x-mos-session': '1' } }).then((a) => a.json())",
    );
    expect(stays).toMatchObject({ tenant: "admin", signedIn: true });
    // nor can it put the page into its own
    await page.evaluate(
      `document.body.append(Object.assign(document.createElement("iframe"), { src: ${JSON.stringify(`${server.address}/studio/`)} }))`,
    );
    await expect.poll(() => page.frames()[1]?.url(), { timeout: 10_000 }).toMatch(/^chrome-error:/);
  },
);

test("whose key was revoked is told so, also after the page was loaded again", async () => {
  await using studio = await openStudio({ server });
  studio.allow(/request: 401/);
  const { token, id } = await studio.api("/v1/keys", { name: "initech" }, { as: "admin" });
  await studio.fill("API key", token);
  expect(await studio.text()).not.toContain("no longer works");
  await studio.click("Sign in");
  await studio.gone("API key");
  await studio.api(`/v1/keys/${id}`, undefined, { method: "DELETE", as: "admin" });
  await studio.click("Adapters");
  await studio.see(/The key that you signed in with no longer works: it was revoked or has expired/);
  await studio.page.reload();
  await studio.see(/The key that you signed in with no longer works/);
  await studio.fill("API key", keyFor("acme"));
  await studio.click("Sign in");
  await studio.gone("API key");
});
