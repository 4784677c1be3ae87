// Keys as an administrator makes and revokes them, and what others are told.
import { afterAll, beforeAll, expect, test } from "vitest";
import { type StudioServer, startServer } from "./server.ts";
import { keyFor, openStudio } from "./studio.ts";

let server: StudioServer;
beforeAll(async () => {
  server = await startServer({ keys: true });
});
afterAll(() => server[Symbol.asyncDispose]());

const statusWith = async (key: string): Promise<number> => {
  const answer = await fetch(`${server.address}/v1/models`, { headers: { authorization: `Bearer ${key}` } });
  return answer.status;
};

test("an administrator signs in, makes a key, which is shown once, and revokes it", async () => {
  await using studio = await openStudio({ server, at: "/keys" });
  studio.allow(/401 GET/); // the server asks for a key
  await studio.see("This server asks for an API key");
  await studio.fill("API key", "wrong");
  studio.allow(/401 POST .*session/);
  await studio.click("Sign in");
  await studio.see("invalid API key");
  await studio.fill("API key", keyFor("admin"));
  await studio.click("Sign in");
  await studio.see("yours");
  await studio.see("globex");

  await studio.click("New key");
  await studio.fill("Name", "initech");
  await studio.fill("Adapters", "initech-*, shared");
  await studio.choose("Expires", "In 30 days");
  await studio.page.getByRole("dialog").getByText("Limits", { exact: true }).click();
  await studio.fill("Requests per minute", "60");
  await studio.fill("Max running jobs", "2");
  await studio.click("Create key");
  await studio.see("Copy it now");
  const token = (await studio.text()).match(/mos-[\w-]{43}/)?.[0] ?? "";
  expect(await statusWith(token)).toBe(200);
  // neither Escape nor a press beside it may lose the key
  await studio.press("Escape");
  await studio.see("Copy it now");
  await studio.click("I've copied it");
  await studio.see("initech-*, shared");
  await studio.see("in 29 d");
  await studio.see("requests per minute 60, max running jobs 2");
  expect(await studio.text()).not.toContain(token);

  const row = studio.page.getByRole("row", { name: /initech/ });
  await row.getByRole("button", { name: /Revoke/ }).click();
  await studio.see("Revoke the key for initech?");
  await studio.click("Cancel");
  expect(await statusWith(token)).toBe(200);
  await row.getByRole("button", { name: /Revoke/ }).click();
  await studio.click("Revoke");
  await studio.see(/Revoked the key .* of initech/);
  await studio.gone("initech-*, shared");
  expect(await statusWith(token)).toBe(401);
  await studio.click("Show revoked keys");
  await studio.see("initech-*, shared");
});

test("the last admin key stays, and the dialog says why", async () => {
  await using studio = await openStudio({ server, as: "admin", at: "/keys" });
  await studio.see("yours");
  studio.allow(/409 DELETE/);
  await studio.page
    .getByRole("row", { name: /admin/ })
    .getByRole("button", { name: /Revoke/ })
    .click();
  await studio.see("You're signed in with this key");
  await studio.click("Revoke");
  await studio.see("this is the last admin key");
  expect(await statusWith(keyFor("admin"))).toBe(200);
});

test("a wrong name is explained beside its field, and what is written stays", async () => {
  await using studio = await openStudio({ server, as: "admin", at: "/keys" });
  studio.allow(/400 POST/);
  await studio.click("New key");
  await studio.fill("Name", "two words");
  await studio.click("Create key");
  await studio.see(/letters, digits and \. _ - @/);
  await studio.fill("Name", "words");
  await studio.choose("Expires", "On a date …");
  await studio.fill("Date", "2020-01-01");
  await studio.click("Create key");
  await studio.see("expires 2020-01-01 is in the past");
});

test("a user's key may not see keys, and the page says whose may", async () => {
  await using studio = await openStudio({ server, as: "acme", at: "/keys" });
  await studio.see("Only administrators can manage keys");
  await studio.see("You're signed in as acme");
  expect(await studio.text()).not.toMatch(/globex|New key/);
});

test("without keys the page says how to have some", async () => {
  await using studio = await openStudio({ at: "/keys" });
  await studio.see("API keys are off");
  await studio.see("mos keys create --name operator --admin --append keys.jsonl");
});
