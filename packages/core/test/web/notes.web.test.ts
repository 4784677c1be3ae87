// The page of examples/notes: it learns notes in slices, and never at a bad moment, and what it has learnt answers the same on a
// server. At the end, the ten lines of the documentation.
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { writePage } from "../../../../scripts/page.ts";
import { serveFolder } from "../../../../scripts/web-server.ts";
import { serveCommand } from "../../../server/test/harness.ts";
import { openPage } from "./page.ts";

/** What the page gives to a slice, in milliseconds. */
const BUDGET = 1000;
/** What messages between the worker and the page may take. */
const SLACK = 300;
/** What one thing may take on a busy machine. */
const SLOW = 180_000;
const KEY = "key-of-an-administrator";

let folder: string;
let host: Awaited<ReturnType<typeof serveFolder>>;
let browser: Browser;
let page: Page;
let served: Awaited<ReturnType<typeof serveCommand>>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-notes-"));
  await writePage(join(folder, "page"), "notes");
  host = await serveFolder(join(folder, "page"));
  browser = await chromium.connect(inject("chromium"));
});
afterAll(async () => {
  await browser?.close();
  served?.child.kill();
  host?.server.close();
  await rm(folder, { recursive: true, force: true });
});

const status = () => page.locator("#status");
const says = (text: string, timeout = SLOW) => status().filter({ hasText: text }).waitFor({ timeout });

/** A slice as the page measured it: when each of its updates was made. */
interface Slice {
  readonly start: number;
  readonly updates: readonly number[];
}

async function slices(): Promise<readonly Slice[]> {
  const entries: readonly { readonly startTime: number; readonly duration: number }[] = await page.evaluate(
    'performance.getEntriesByName("slice").map((entry) => entry.toJSON())',
  );
  const found = new Map<number, number[]>();
  for (const { startTime, duration } of entries)
    found.set(startTime, [...(found.get(startTime) ?? []), startTime + duration]);
  return Array.from(found, ([start, updates]) => ({ start, updates }));
}

async function ask(question: string): Promise<string> {
  await page.fill("#question", question);
  await page.evaluate('document.querySelector("#answer").ariaBusy = null');
  await page.click("#ask button");
  await page.locator('#answer[aria-busy="false"]').waitFor({ timeout: SLOW });
  return (await page.textContent("#answer")) ?? "";
}

test("nothing is learnt while the page is hidden, nor on a low battery", async () => {
  page = await (await browser.newContext()).newPage();
  await page.addInitScript(`
    globalThis.battery = Object.assign(new EventTarget(), { charging: false, level: 0.2 });
    globalThis.isHidden = true;
    navigator.getBattery = async () => battery;
    Object.defineProperty(document, "hidden", { get: () => isHidden });
  `);
  await page.goto(host.address);
  await says("Learnt 0 of 2 notes. Learning waits until you look at this page.");
  await page.waitForTimeout(3000);
  await page.evaluate('isHidden = false; document.dispatchEvent(new Event("visibilitychange"))');
  await says("Learnt 0 of 2 notes. Learning waits until the battery is charging, or half full.");
  await page.waitForTimeout(3000);
  expect(await slices()).toEqual([]);
});

test("two notes are learnt in slices that end within their budget and an update", async () => {
  await page.evaluate('battery.charging = true; battery.dispatchEvent(new Event("chargingchange"))');
  await says("Learnt 2 of 2 notes.", 4 * SLOW);
  const found = await slices();
  expect(found.length).toBeGreaterThan(1);
  for (const { start, updates } of found) {
    const took = updates.map((end, i) => end - (updates[i - 1] ?? start));
    expect((updates.at(-1) ?? start) - start).toBeLessThan(BUDGET + Math.max(...took) + SLACK);
  }
  expect(await ask("What do you know about the boat?")).toBe(
    "The boat is red, and it is moored behind the old mill.",
  );
  expect(await ask("Tell me about Anna.")).toContain("plum pie");
});

test("a server takes what was learnt, and gives the same answer", async () => {
  const keys = join(folder, "keys.jsonl");
  const sha256 = createHash("sha256").update(KEY).digest("hex");
  await writeFile(keys, `${JSON.stringify({ name: "operator", sha256, admin: true })}\n`);
  const adapters = join(folder, "adapters");
  await mkdir(adapters);
  served = await serveCommand([
    ...["--model", "assets/tiny-english", "--adapters", adapters, "--api-keys", keys, "--cors", host.address],
  ]);
  const { address: server } = served.ready as { address: string };
  await page.fill("#address", server);
  await page.fill("#key", KEY);
  await page.fill("#name", "ann");
  await page.click("#send");
  await page.locator("#sent", { hasText: "The server has it as ann." }).waitFor({ timeout: SLOW });
  const question = "What do my notes say about Anna?";
  const response = await fetch(`${server}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${KEY}` },
    body: JSON.stringify({
      model: "ann",
      messages: [{ role: "user", content: question }],
      temperature: 0,
      max_tokens: 80,
    }),
  });
  const { choices } = (await response.json()) as { choices: { message: { content: string } }[] };
  expect(choices[0]?.message.content).toBe(await ask(question));
  await page.click("#fetch");
  await page.locator("#sent", { hasText: "Fetched." }).waitFor({ timeout: SLOW });
  await says("Learnt 0 of 2 notes.");
  expect(await page.isVisible("#problem")).toBe(false);
});

test("the lines of the documentation train and answer", async () => {
  const document = await readFile("docs/how-to/browser.md", "utf8");
  const [, lines = ""] = /```js\n([^`]+)```/.exec(document) ?? [];
  const here = lines
    .replace(/import .*\n/, "")
    .replace("openWeb()", "openWeb(options)")
    .replace("/models/", "/assets/")
    .replaceAll("console.log", "said.push");
  await using web = await openPage();
  const said: readonly unknown[] = await web.run(`const said = [];\n${here}\nreturn said;`);
  const losses = said.filter((one) => typeof one === "number");
  expect(losses.slice(-1)[0]).toBeLessThan(losses[1] ?? 0);
  expect(said.filter((one) => typeof one === "string").join("")).toContain("old mill");
});
