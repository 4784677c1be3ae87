// One Chromium for all files of tests in a browser.
import { chromium } from "playwright-core";
import type { TestProject } from "vitest/node";
import { findChromium } from "../scripts/chromium.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** The address under which Playwright finds the browser. */
    readonly chromium: string;
  }
}

/** Starts it; what is returned ends it. */
export async function startChromium(
  { provide }: TestProject,
  args: readonly string[] = [],
): Promise<() => Promise<void>> {
  // containers have no user namespaces for its sandbox; the tests open pages of this package only
  const browser = await chromium.launchServer({
    executablePath: findChromium(),
    args: ["--no-sandbox", ...args],
  });
  provide("chromium", browser.wsEndpoint());
  return () => browser.close();
}
