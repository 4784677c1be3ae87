// Before all tests in the browser: the page is built, and one Chromium is started for all of them.
import { join } from "node:path";
import { build } from "vite";
import type { TestProject } from "vitest/node";
import { startChromium } from "../../../test/chromium.ts";

/** Called by vitest; what it returns ends the browser. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  await build({ configFile: join(import.meta.dirname, "../vite.config.ts") });
  return startChromium(project);
}
