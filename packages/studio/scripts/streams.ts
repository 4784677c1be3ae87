// Measures how smoothly the comparison draws streams: seven at once, as many tokens a second as eight of a hundred. The page is
// the built one, the streams are made within the browser, so that no model's speed is measured.
//   npm run studio:build && node --conditions=source --import tsx packages/studio/scripts/streams.ts [seconds]

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";
import { chromium } from "playwright-core";

const PAGE = join(import.meta.dirname, "../../../dist/studio");
const MODELS = ["base", ..."abcdef"];
const TOKENS_PER_SECOND = 800 / MODELS.length;
const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
};

const listed = {
  object: "list",
  data: MODELS.map((id, created) => ({
    id,
    created,
    root: "base",
    parent: id === "base" ? null : "base",
    default_parameters: { temperature: 1, top_p: 1 },
  })),
};
const features = { service: false, runs: false, keys: false, adapters: true };
const answers: Readonly<Record<string, unknown>> = {
  "/v1/models": listed,
  "/studio/config.json": { model: "base", version: "0", features, needsKey: false, isAdmin: true },
};

const server = createServer(async (request, response) => {
  const { pathname } = new URL(request.url ?? "/", "http://localhost");
  const json = answers[pathname];
  if (json !== undefined)
    return response.setHeader("content-type", "application/json").end(JSON.stringify(json));
  const name = pathname === "/studio/" ? "index.html" : pathname.replace("/studio/", "");
  const bytes = await readFile(join(PAGE, name)).catch(() => undefined);
  response.setHeader("content-type", TYPES[extname(name)] ?? "text/plain");
  return response.writeHead(bytes === undefined ? 404 : 200).end(bytes);
}).listen(0, "127.0.0.1");

const seconds = Number(process.argv[2] ?? 20);
const browser = await chromium.launch({
  executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
  args: ["--no-sandbox"],
});
const page = await browser.newPage({ viewport: { width: 1920, height: 1080 } });
await page.addInitScript(`globalThis.asked = ${JSON.stringify({ rate: TOKENS_PER_SECOND, seconds })}`);
await page.addInitScript({ path: join(import.meta.dirname, "streams-page.js") });
const { port } = server.address() as AddressInfo;
await page.goto(`http://127.0.0.1:${port}/studio/#/compare?models=${MODELS.join(",")}`);
await page.getByLabel("Message to all models").fill("Tell a story.");
const session = await page.context().newCDPSession(page);
await session.send("Performance.enable", { timeDomain: "threadTicks" });
const busy = async (): Promise<number> =>
  (await session.send("Performance.getMetrics")).metrics.find(({ name }) => name === "TaskDuration")?.value ??
  0;
const before = await busy();
await page.evaluate("notes.gaps.length = notes.longTasks.length = 0");
await page.keyboard.press("Enter");
await page.waitForTimeout(1000 * seconds);
const used = (await busy()) - before;
const { gaps, longTasks } = (await page.evaluate("notes")) as { gaps: number[]; longTasks: number[] };
await page.getByRole("button", { name: "Send" }).waitFor();
const text = await page.getByRole("region", { name: "Answer of f" }).textContent();
await browser.close();
server.close();

const sorted = gaps.toSorted((a, b) => a - b);
const at = (share: number): string => (sorted[Math.floor(share * (sorted.length - 1))] ?? 0).toFixed(1);
process.stdout.write(
  `${MODELS.length} streams of ${TOKENS_PER_SECOND.toFixed(0)} tokens/s for ${seconds} s, ${text?.length} characters each\n` +
    `frames: ${gaps.length}, median ${at(0.5)} ms, 99% ${at(0.99)} ms, longest ${at(1)} ms, over 50 ms: ${gaps.filter((gap) => gap > 50).length}\n` +
    `tasks over 50 ms: ${longTasks.length}; the main thread was busy ${((100 * used) / seconds).toFixed(0)}% of the time, ` +
    `${((1000 * used) / Math.max(1, gaps.length)).toFixed(1)} ms a frame\n`,
);
