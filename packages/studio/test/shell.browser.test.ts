// What surrounds every view: keys, commands, themes, and a server that goes away and comes back.
import { afterAll, beforeAll, expect, test } from "vitest";
import { type StudioServer, startServer } from "./server.ts";
import { openStudio } from "./studio.ts";

let server: StudioServer;
beforeAll(async () => {
  server = await startServer({});
});
afterAll(() => server[Symbol.asyncDispose]());

const heading = (text: string) => new RegExp(`^${text}$`);

test("one goes from view to view by keys alone", async () => {
  await using studio = await openStudio({ server });
  const { page } = studio;
  const isAt = (view: string) => expect.poll(() => page.url()).toMatch(new RegExp(`#/${view}(\\?|$)`));
  await studio.see(heading("Runs"));
  await studio.press("Control+k");
  await page.keyboard.type("ada");
  await studio.press("Enter");
  await isAt("adapters");
  expect(await page.title()).toContain("Adapters");
  await page.keyboard.type("gc");
  await isAt("compare");
  await studio.press("Control+k");
  await studio.press("Escape");
  await studio.gone("New run");
  // letters that are typed into a field are text
  await studio.press("Control+k");
  await page.keyboard.type("gs");
  await isAt("compare");
  await studio.press("Escape");
  await page.goBack();
  await isAt("adapters");
});

test("the theme is the system's until somebody chooses, and stays chosen", async () => {
  await using studio = await openStudio({ server, dark: true });
  const ground = () => studio.page.evaluate("getComputedStyle(document.body).backgroundColor");
  const dark = await ground();
  await studio.click("Light theme");
  await expect.poll(ground).not.toBe(dark);
  const light = await ground();
  await studio.page.reload();
  await studio.click("Dark theme");
  await expect.poll(ground).toBe(dark);
  await studio.page.emulateMedia({ colorScheme: "light" });
  expect(await ground()).toBe(dark);
  await studio.press("Control+k");
  await studio.page.keyboard.type("Theme: system");
  await studio.press("Enter");
  await expect.poll(ground).toBe(light);
});

test("a server that goes away is noticed, and its return as well", async () => {
  await using studio = await openStudio({ at: "/system" });
  await studio.see(heading("System"));
  studio.allow(/ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE/);
  await studio.server.stop();
  await studio.open("/compare");
  await studio.see("The server cannot be reached");
  await studio.see("It comes as soon as the server is back.");
  await studio.server.restart();
  await studio.gone("The server cannot be reached");
  await studio.see(heading("Compare"));
});

test("an address of no view says so, and leads on", async () => {
  await using studio = await openStudio({ server, at: "/nowhere" });
  await studio.see("Page not found");
  await studio.click("All runs");
  await studio.see(heading("Runs"));
});

test.each([360, 800, 1280, 2560])("nothing is cut off or unreadable %i pixels wide", async (width) => {
  for (const dark of [false, true]) {
    await using studio = await openStudio({ server, width, dark });
    for (const view of ["runs", "new-run", "compare", "adapters", "system"]) {
      await studio.open(`/${view}`);
      await expect.poll(() => studio.page.locator("h1").count()).toBe(1);
      expect(await studio.seriousProblems(), view).toEqual([]);
      const overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
      expect(await studio.page.evaluate(overflow), view).toBeLessThanOrEqual(0);
    }
    await studio.press("Control+k");
    await studio.see("Theme: dark");
    expect(await studio.seriousProblems()).toEqual([]);
  }
});
