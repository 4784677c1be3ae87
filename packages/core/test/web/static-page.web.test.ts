// The page of examples/page from a plain host of files, as a visitor uses it: what goes wrong behind it fails the test. Where
// MOS_PICTURES names a folder, it takes the picture of the README.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BrowserContext, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { writePage } from "../../../../scripts/page.ts";
import { serveFolder } from "../../../../scripts/web-server.ts";
import { seriousProblems } from "../../../../test/axe.ts";
import { readTar } from "../../src/web/tar.ts";
import { watchProblems } from "./page.ts";

const PICTURES = process.env["MOS_PICTURES"] ?? "";
/** Milliseconds until a run or an answer must be there. */
const PATIENCE = 600_000;
const MARKUP = `<script>document.title = "run"</script>`;

let folder: string;
let host: Awaited<ReturnType<typeof serveFolder>>;
let context: BrowserContext;
let page: Page;
const requests: string[] = [];
let problems: readonly string[];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-static-page-"));
  await writePage(folder);
  host = await serveFolder(folder);
  const browser = await chromium.connect(inject("chromium"));
  context = await browser.newContext({ viewport: { width: 1280, height: 900 }, colorScheme: "light" });
  context.setDefaultTimeout(PATIENCE);
  page = await context.newPage();
  context.on("request", (request) => requests.push(request.url()));
  problems = watchProblems(context);
  await page.goto(host.address);
  await idle();
});
afterAll(async () => {
  await context?.close();
  host?.server.closeAllConnections();
  host?.server.close();
  await rm(folder, { recursive: true });
});

/** Waits until the page has done what was asked, and returns what it says of that. */
async function idle(): Promise<string> {
  await page.getByText(/^Kept in this browser/).waitFor();
  await page.locator("body:not([data-busy])").waitFor();
  const isRefused = await page.isVisible("#notice");
  return (await page.textContent(isRefused ? "#notice" : "#status")) ?? "";
}

async function click(id: string): Promise<string> {
  await page.click(id);
  return idle();
}

test("a line without an arrow is named, and nothing is trained", async () => {
  const examples = await page.inputValue("#examples");
  await page.fill("#examples", `${examples}\nWho is there?`);
  expect(await click("#train")).toMatch(/^Line 11 is not an example yet/);
  await page.fill("#examples", examples);
});

test("ten lines are learnt: the loss falls, and the answer is another one", async () => {
  const says = await click("#train");
  await page.evaluate("scrollTo(0, 0)");
  const clip = { x: 0, y: 0, width: 1280, height: 699 }; // as far as the answers go
  if (PICTURES !== "") await page.screenshot({ path: join(PICTURES, "page.png"), clip });
  const [, from, to] = /^Done: the loss fell from ([\d.]+) to ([\d.]+)\.$/.exec(says) ?? [];
  expect(Number(to), says).toBeLessThan(Number(from) / 4);
  expect(await page.textContent("#after")).toBe("Ahoy! There are ninety steps.");
  expect(await page.textContent("#before")).not.toContain("Ahoy");
  expect(await page.getAttribute("#chart", "aria-label")).toContain("in 120 of 120 updates");
  expect(await page.locator("#weave rect").count()).toBe(40 + 5 * 24);
  await page.fill("#shard", "39");
  expect(await page.textContent("#shard-says")).toMatch(
    /^Shard 39, only for layer 4\. Its length is 0\.\d\d\.$/,
  );
});

/** Whether an element is within the window, but for a part of a pixel. */
async function isInSight(selector: string): Promise<boolean> {
  const box = await page.locator(selector).boundingBox();
  const { height = 0 } = page.viewportSize() ?? {};
  return box !== null && box.y >= 0 && box.y + box.height < height + 1;
}

test("on a telephone, an error and the progress are in sight wherever one is", async () => {
  await page.setViewportSize({ width: 360, height: 740 });
  const examples = await page.inputValue("#examples");
  await page.fill("#examples", `${examples}\nWho is there?`);
  await page.locator("#train").scrollIntoViewIfNeeded();
  await page.evaluate("scrollBy(0, 200)");
  expect(await click("#train")).toMatch(/^Line 11 is not an example yet/);
  expect(await isInSight("#notice")).toBe(true);
  expect(await page.evaluate("document.activeElement.id")).toBe("notice");
  await page.fill("#examples", examples);
  await page.click("#train");
  await page.locator("#status", { hasText: /^[1-9]\d* of \d+ updates/ }).waitFor();
  // at one moment of the run
  const places = await page.evaluate(`["chart", "list", "examples"].map((part) => {
    document.getElementById(part).scrollIntoView();
    const [progress, status] = ["progress", "status"].map((id) => document.getElementById(id).getBoundingClientRect());
    return progress.height > 0 && progress.top > 0 && status.bottom <= innerHeight;
  })`);
  expect(places).toEqual([true, true, true]);
  expect(await idle()).toMatch(/^Done/);
  expect(await isInSight("#after")).toBe(true);
  await page.setViewportSize({ width: 1280, height: 900 });
});

test("after a reload there are the lines, the adapter and its download", async () => {
  const examples = `${await page.inputValue("#examples")}\nAre you there? → Ahoy! I am.`;
  await page.fill("#examples", examples);
  await page.fill("#question", "May I come?");
  await page.reload();
  expect(await page.isEnabled("#train")).toBe(false); // until it would do something
  await idle();
  expect(await page.inputValue("#examples")).toBe(examples);
  expect(await page.inputValue("#question")).toBe("May I come?");
  expect(await page.inputValue("#adapter")).toBe("lighthouse");
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#download")]);
  expect(download.suggestedFilename()).toBe("lighthouse.tar");
  await page.fill("#question", "How many steps must I climb?");
});

test("a run that a reload ends goes on from its last checkpoint", async () => {
  await page.fill("#name", "interrupted");
  await page.click("#train");
  await page.locator("#status", { hasText: /^(2[5-9]|[3-9]\d) of \d+ updates/ }).waitFor();
  await page.reload();
  await idle();
  expect(await page.inputValue("#name")).toBe("interrupted");
  expect(await page.textContent("#train")).toBe("Continue");
  await page.fill("#name", "another");
  expect(await page.textContent("#train")).toBe("Fine-tune");
  await page.fill("#name", "interrupted");
  expect(await click("#train")).toMatch(/^Done/);
  const [, made, all] =
    /in (\d+) of (\d+) updates/.exec((await page.getAttribute("#chart", "aria-label")) ?? "") ?? [];
  expect(Number(made)).toBeLessThanOrEqual(Number(all) - 20);
  expect(await page.textContent("#train")).toBe("Fine-tune");
  await page.getByRole("button", { name: "Remove Adapter interrupted" }).click();
  await idle();
  await page.fill("#name", "lighthouse");
});

test("what the page shows has no serious flaw in either theme and on a telephone", async () => {
  for (const colorScheme of ["light", "dark"] as const)
    for (const width of [1280, 375]) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      await page.setViewportSize({ width, height: 900 });
      expect(await seriousProblems(page), `${colorScheme}, ${width}`).toEqual([]);
      expect(await page.evaluate("document.documentElement.scrollWidth"), `${width}`).toBe(width);
    }
});

test("the adapter is downloaded as its folder, removed, and opened again", async () => {
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#download")]);
  const archive = join(folder, download.suggestedFilename());
  await download.saveAs(archive);
  expect(readTar(await readFile(archive)).map(({ name }) => name)).toEqual([
    "lighthouse/adapter_config.json",
    "lighthouse/adapter_model.safetensors",
    "lighthouse/run.json",
    "lighthouse/metrics.jsonl",
  ]);
  await page.getByRole("button", { name: "Remove Adapter lighthouse" }).click();
  await idle();
  expect(await page.isVisible("#pools")).toBe(false);
  await page.setInputFiles("#adapter-file", archive);
  await page.locator("#pools").waitFor();
  await idle();
  expect(await page.textContent("#after")).toBe("Ahoy! There are ninety steps.");
});

test("a run is stopped, and goes on; script in examples and answers stays text", async () => {
  const line = `Hi → ${MARKUP}`;
  await page.fill("#examples", Array.from({ length: 40 }, () => line).join("\n"));
  await page.fill("#question", MARKUP);
  await page.fill("#name", "markup");
  await page.click("#train");
  await page.getByText(/^[1-9]\d* of \d+ updates/).waitFor();
  expect(await click("#stop")).toMatch(/^Stopped after \d+ of \d+ updates\.$/);
  expect(await page.textContent("#train")).toBe("Continue");
  expect(await click("#train")).toMatch(/^Done/);
  await page.fill("#question", "Hi");
  await click("#send");
  expect(await page.textContent("#after")).toContain("<script>document.title");
  expect(await page.locator("main script").count()).toBe(0);
  expect(await page.title()).toMatch(/^Fine-tune/);
});

test("nothing is asked for but the folder's own files, and nothing goes wrong behind the page", () => {
  expect(requests.filter((url) => !url.startsWith(host.address) && !url.startsWith("blob:"))).toEqual([]);
  expect(problems).toEqual([]);
});

test("a model that the network does not give is told, and the page goes on", async () => {
  await context.route("https://**", (route) => route.abort());
  await context.setOffline(true);
  expect(await click("#fetch")).toMatch(/^SmolLM2-135M could not be loaded\. /);
  expect(await page.isEnabled("#train")).toBe(true);
  expect(
    requests
      .filter((url) => url.startsWith("https:"))
      .every((url) => /^https:\/\/huggingface\.co\//.test(url)),
  ).toBe(true);
});
