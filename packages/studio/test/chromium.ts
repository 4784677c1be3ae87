// Before all tests in the browser: the page is built, and one Chromium is started for all of them.
import { join } from "node:path";
import { chromium } from "playwright-core";
import { build } from "vite";
import type { TestProject } from "vitest/node";
import { findChromium } from "../../../scripts/chromium.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** The address under which Playwright finds the browser. */
    readonly chromium: string;
  }
}

/** Called by vitest; what it returns ends the browser. */
export async function setup({ provide }: TestProject): Promise<() => Promise<void>> {
  const executablePath = findChromium();
  await build({ configFile: join(import.meta.dirname, "../vite.config.ts") });
  // containers have no user namespaces for its sandbox; the tests open pages of this package only
  const browser = await chromium.launchServer({ executablePath, args: ["--no-sandbox"] });
  provide("chromium", browser.wsEndpoint());
  return () => browser.close();
}
