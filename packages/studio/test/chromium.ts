// Before all tests in the browser: the page is built, and one Chromium is started for all of them.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { build } from "vite";
import type { TestProject } from "vitest/node";

declare module "vitest" {
  export interface ProvidedContext {
    /** The address under which Playwright finds the browser. */
    readonly chromium: string;
  }
}

/** Places of Debian's, Ubuntu's and Chrome's packages, and of macOS. */
const PLACES = [
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

function findChromium(): string {
  const named = process.env["CHROMIUM"];
  const found = (named === undefined ? PLACES : [named]).find((path) => existsSync(path));
  if (found !== undefined) return found;
  throw new Error(
    named === undefined
      ? `no Chromium at ${PLACES.join(" or ")}: install it (apt-get install chromium), or set CHROMIUM to its path`
      : `CHROMIUM=${named}: no such file`,
  );
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
