// Opens every page of the built site in Chromium, in light and dark and on a phone: axe must find nothing serious, no page may
// be wider than the phone, and search must find a word.
// usage: bash scripts/ci/site.sh
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import type { AxeResults } from "axe-core";
import { type Browser, chromium, type Page } from "playwright-core";
import { serve } from "vitepress";
import { findChromium } from "../../scripts/chromium.ts";
import { sidebar } from "./sidebar.ts";

const PORT = Number(process.env["PORT"] ?? 41_733);
const SITE = `http://localhost:${PORT}`;
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const PHONE = { width: 390, height: 844 };
const DESKTOP = { width: 1280, height: 900 };

const flaws: string[] = [];

/** The serious and critical violations that axe finds on the open page. */
async function auditPage(page: Page, name: string): Promise<void> {
  await page.evaluate(AXE);
  const results = await page.evaluate(() =>
    (globalThis as unknown as { axe: { run(): Promise<AxeResults> } }).axe.run(),
  );
  for (const { id, impact, nodes } of results.violations) {
    if (impact !== "serious" && impact !== "critical") continue;
    flaws.push(`${name}: ${impact}: ${id}: ${nodes.length} × ${nodes[0]?.html.slice(0, 150)}`);
  }
}

async function checkWidth(page: Page, name: string): Promise<void> {
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  if (width > PHONE.width) flaws.push(`${name}: ${width} pixels wide on a screen of ${PHONE.width}`);
}

async function checkPages(
  browser: Browser,
  colorScheme: "light" | "dark",
  viewport = DESKTOP,
): Promise<void> {
  const page = await browser.newPage({ colorScheme, viewport, reducedMotion: "reduce" });
  for (const path of sidebar.flatMap(({ pages }) => pages)) {
    const name = `${path} (${colorScheme}, ${viewport.width})`;
    const answer = await page.goto(`${SITE}/${path === "index" ? "" : path}`, { waitUntil: "networkidle" });
    if (answer?.ok() !== true) flaws.push(`${name}: HTTP ${answer?.status()}`);
    if (viewport === PHONE) await checkWidth(page, name);
    await auditPage(page, name);
  }
  await page.close();
}

async function checkSearch(browser: Browser): Promise<void> {
  const page = await browser.newPage({ viewport: DESKTOP });
  await page.goto(SITE, { waitUntil: "networkidle" });
  await page.click("#local-search button");
  await page.fill("#localsearch-input", "equivalent rank");
  await page.waitForSelector("#localsearch-list a", { timeout: 10_000 });
  await auditPage(page, "search");
  await page.close();
}

await serve({ root: join(import.meta.dirname, ".."), port: PORT });
const browser = await chromium.launch({
  executablePath: findChromium(),
  args: ["--no-sandbox"],
});
try {
  await checkPages(browser, "light");
  await checkPages(browser, "dark");
  await checkPages(browser, "light", PHONE);
  await checkSearch(browser);
} finally {
  await browser.close();
}
for (const flaw of flaws) console.log(flaw);
console.log(flaws.length === 0 ? "site: nothing serious" : `site: ${flaws.length} flaws`);
process.exit(flaws.length === 0 ? 0 : 1);
