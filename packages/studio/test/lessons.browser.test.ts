// Lessons as a person meets them: added by hand, contradicting each other, left out and deleted.
import { afterAll, beforeAll, expect, test } from "vitest";
import { type StudioServer, startServer } from "./server.ts";
import { openStudio } from "./studio.ts";

let server: StudioServer;
beforeAll(async () => {
  server = await startServer({ state: true });
});
afterAll(() => server[Symbol.asyncDispose]());

test("somebody adds lessons, sees which of them contradict each other, and decides", async () => {
  await using studio = await openStudio({ server, at: "/lessons" });
  await studio.see("No lessons yet");
  const add = async (question: string, answer: string): Promise<void> => {
    await studio.click("Add lesson");
    await studio.fill("Question", question);
    await studio.fill("Answer", answer);
    await studio.page.getByRole("dialog").getByRole("button", { name: "Add lesson" }).click();
    await studio.see(answer);
  };
  await add("Who keeps the light?", "Ada does");
  await add("Who keeps the light?", "Bob does");
  await studio.see("contradicts 1 other");
  expect(await studio.seriousProblems()).toEqual([]);
  await studio.click("Only contradictions");
  await studio.page
    .getByRole("row", { name: /Bob does/ })
    .getByRole("button", { name: /Delete the lesson/ })
    .click();
  await studio.see("No contradictions");
  await studio.click("Only contradictions");
  await studio.see("Ada does");
  expect(await studio.text()).not.toMatch(/Bob does|contradicts/);
  await studio.page.getByRole("switch", { name: "Learnt" }).click();
  await studio.see("Left out");
});

test("where the key allows no lessons, the page says how to allow them", async () => {
  await using studio = await openStudio({ state: true, keys: true, as: "acme", at: "/lessons" });
  studio.allow(/403 POST/);
  await studio.click("Add lesson");
  await studio.fill("Question", "Who?");
  await studio.fill("Remark", "Be brief.");
  await studio.page.getByRole("dialog").getByRole("button", { name: "Add lesson" }).click();
  await studio.see("this key allows no lessons");
});
