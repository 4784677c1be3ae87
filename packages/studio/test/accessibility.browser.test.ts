// Every view in both themes, on a telephone and on a desk: nothing that axe calls serious, and nothing wider than the window.
import { afterAll, beforeAll, expect, test } from "vitest";
import { type StudioServer, startServer } from "./server.ts";
import { openStudio } from "./studio.ts";

let server: StudioServer;
beforeAll(async () => {
  server = await startServer({ keys: true, state: true });
});
afterAll(() => server[Symbol.asyncDispose]());

const VIEWS = Object.entries({
  runs: "Runs",
  "new-run": "New run",
  compare: "Compare",
  adapters: "Adapters",
  lessons: "Lessons",
  system: "System",
  keys: "Keys",
});
const LOOKS = [360, 1280].flatMap((width) => [true, false].map((dark) => ({ width, dark })));

test.each(LOOKS)("at $width px, dark: $dark", async (look) => {
  await using studio = await openStudio({ server, as: "admin", at: "/runs", ...look });
  const check = async (what: string): Promise<void> => {
    // what was asked for is there
    await studio.page.waitForLoadState("networkidle");
    expect(await studio.seriousProblems(), what).toEqual([]);
    const width = await studio.page.evaluate("document.documentElement.scrollWidth");
    expect(width, `the width of ${what}`).toBeLessThanOrEqual(look.width);
  };
  for (const [view, name] of VIEWS) {
    await studio.open(`/${view}`);
    await studio.page.getByRole("heading", { level: 1, name }).waitFor();
    await check(view);
  }
  await studio.click("New key");
  await studio.see("The tenant that owns the key");
  await check("a dialog");
});
