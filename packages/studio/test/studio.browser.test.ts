// The page as any browser gets it, and that these tests see what goes wrong behind it.
import { expect, test } from "vitest";
import { openStudio } from "./studio.ts";

test("the page opens without a problem, and one that it has fails the test", async () => {
  await using studio = await openStudio();
  expect(await studio.page.title()).not.toBe("");
  studio.assertClean();
  await studio.page.evaluate("console.error('from a test')");
  await studio.page.evaluate("fetch('../v1/none', { headers: { 'x-mos-session': '1' } })");
  await studio.page.evaluate(
    "document.body.append(Object.assign(document.createElement('script'), { text: '1' }))",
  );
  for (const part of [/from a test/, /Content Security Policy/, /404 GET .*none/])
    expect(studio.assertClean).toThrow(part);
  studio.allow(/from a test|Content Security Policy|404 GET/);
});
