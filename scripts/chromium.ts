// The browser of tests, measurements and checks.
import { existsSync } from "node:fs";

/** Places of Debian's, Ubuntu's and Chrome's packages, and of macOS. */
const PLACES = [
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

/** The program of Chromium: what the environment's CHROMIUM names, or where packages put it. */
export function findChromium(): string {
  const named = process.env["CHROMIUM"];
  const found = (named === undefined ? PLACES : [named]).find((path) => existsSync(path));
  if (found !== undefined) return found;
  throw new Error(
    named === undefined
      ? `no Chromium at ${PLACES.join(" or ")}: install it (apt-get install chromium), or set CHROMIUM to its path`
      : `CHROMIUM=${named}: no such file`,
  );
}
