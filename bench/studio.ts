// How fast the studio's page is in a real browser: the first view, curves of 100,000 points, streams of answers, and memory.
import { execFileSync } from "node:child_process";
import { cpus } from "node:os";
import { type Browser, type CDPSession, chromium, type Page } from "playwright-core";
import { PAGE_FOLDER } from "../packages/studio/vite.config.ts";
import { findChromium } from "../scripts/chromium.ts";
import { median, readArguments, rounded } from "./arguments.ts";
import { LONG, type PageServer, startPageServer } from "./studio/page-server.ts";

const HELP = `usage: npm run bench:studio -- [--only first|pan|streams|memory] [--minutes 60]

The built page (npm run studio:build) in Chromium, which CHROMIUM may name, before a server that computes nothing. Prints a JSON line each:
first    milliseconds from an empty cache to the list of 500 runs, of 5 browsers; kilobytes sent
pan      frames while a run of ${LONG} rows in five curves is panned and zoomed in four charts
streams  frames while five models, as many as a comparison takes, answer with 100 tokens a second each
memory   heap and whole memory of a page that shows a live run for --minutes, in real time, each minute after
         garbage collection; their slopes without the first ten minutes, in which the curves are still growing
Other load on the machine makes frames late; "cpuMs" is what the page's process computes for one.`;

const args = readArguments(HELP, { values: ["only", "minutes"], flags: [] });
const only = args.text("only");

const print = (name: string, figures: object): void =>
  console.log(JSON.stringify({ name, processor: cpus()[0]?.model, cores: cpus().length, ...figures }));

const launch = (): Promise<Browser> =>
  chromium.launch({
    executablePath: findChromium(),
    args: ["--no-sandbox", "--enable-precise-memory-info"],
  });

async function open(browser: Browser, place: string, { address }: PageServer): Promise<Page> {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  const page = await context.newPage();
  page.on("pageerror", (error) => {
    throw error;
  });
  await page.goto(`${address}#${place}`);
  return page;
}

async function firstView(server: PageServer): Promise<void> {
  const times: number[] = [];
  let kilobytes = 0;
  for (let round = 0; round < 5; round++) {
    const browser = await launch();
    const page = await open(browser, "/runs", server);
    await page.getByText("run-0", { exact: true }).first().waitFor();
    const [time = 0, bytes = 0] = (await page.evaluate(`[
      performance.now(),
      performance.getEntries().reduce((sum, entry) => sum + (entry.transferSize ?? 0), 0),
    ]`)) as number[];
    times.push(time);
    kilobytes = bytes / 1000;
    await browser.close();
  }
  print("first", {
    medianMs: Math.round(median(times)),
    worstMs: Math.round(Math.max(...times)),
    kilobytes: Math.round(kilobytes),
  });
}

/** Runs in the page: does something before each frame, and gives the milliseconds between frames. */
const FRAMES = `async (count, step) => {
  const times = [];
  let last = await new Promise(requestAnimationFrame);
  for (let at = 0; at < count; at++) {
    step(at);
    const now = await new Promise(requestAnimationFrame);
    times.push(now - last);
    last = now;
  }
  return times;
}`;

/** Milliseconds that processes of a type computed for each frame. */
async function withCpu(browser: Browser, work: () => Promise<number[]>) {
  const session = await browser.newBrowserCDPSession();
  const read = async (): Promise<number> => {
    const { processInfo } = await session.send("SystemInfo.getProcessInfo");
    return processInfo
      .filter(({ type }) => type === "renderer")
      .reduce((sum, { cpuTime }) => sum + cpuTime, 0);
  };
  const before = await read();
  const times = await work();
  return {
    frames: times.length,
    medianFps: rounded(1000 / median(times), 1),
    medianMs: rounded(median(times), 1),
    worstMs: rounded(Math.max(...times), 1),
    over50Ms: times.filter((time) => time > 50).length,
    cpuMs: rounded((1000 * ((await read()) - before)) / times.length, 1),
  };
}

async function pan(server: PageServer): Promise<void> {
  const browser = await launch();
  const page = await open(browser, "/run/long", server);
  await page.getByRole("slider", { name: "Tokens per second by step" }).waitFor();
  await page.waitForTimeout(1000);
  const turn = (wheel: string, count: number): Promise<number[]> =>
    page.evaluate(`(${FRAMES})(${count}, (at) => {
      const over = document.querySelector(".u-over");
      const { left, top, width } = over.getBoundingClientRect();
      const place = { bubbles: true, cancelable: true, clientX: left + width / 2, clientY: top + 50 };
      over.dispatchEvent(new WheelEvent("wheel", { ...place, ...(${wheel}) }));
    })`) as Promise<number[]>;
  const zoom = await withCpu(browser, () => turn("{ ctrlKey: true, deltaY: at % 80 < 40 ? -12 : 12 }", 240));
  await turn("{ ctrlKey: true, deltaY: -40 }", 8);
  const moved = await withCpu(browser, () => turn("{ deltaX: at % 80 < 40 ? 15 : -15 }", 240));
  print("pan", { points: 5 * LONG, pan: moved, zoom });
  await browser.close();
}

async function streams(server: PageServer): Promise<void> {
  const browser = await launch();
  const models = ["base", ...Array.from({ length: 4 }, (_, index) => `adapter-${index + 1}`)];
  const page = await open(browser, `/compare?models=${models.join(",")}`, server);
  await page.getByLabel("Message to all models").fill("Say something");
  await page.getByRole("button", { name: "Send" }).click();
  await page.waitForTimeout(300);
  const figures = await withCpu(
    browser,
    () => page.evaluate(`(${FRAMES})(270, () => {})`) as Promise<number[]>,
  );
  print("streams", { streams: models.length, ...figures });
  await browser.close();
}

/** Minutes until the page holds as many rows as it ever does: until then its memory must grow. */
const FILLING = 10;

/** Memory of a page that shows a live run in real time, each minute after garbage collection. */
async function memory(server: PageServer): Promise<void> {
  const minutes = args.number("minutes", 60);
  const browser = await launch();
  const page = await open(browser, "/run/live", server);
  await page.getByText("Running").first().waitFor();
  const session = await page.context().newCDPSession(page);
  const samples: MemorySample[] = [];
  for (let minute = 0; minute <= minutes; minute++) {
    if (minute > 0) await page.waitForTimeout(60_000);
    const sample = { minute, steps: server.liveSteps(), ...(await readMemory(browser, session)) };
    samples.push(sample);
    console.log(JSON.stringify(sample));
  }
  const steady = minutes > FILLING ? samples.filter(({ minute }) => minute >= FILLING) : samples;
  const { nodes } = await session.send("Memory.getDOMCounters");
  print("memory", {
    minutes,
    fromMinute: steady[0]?.minute,
    heap: trend(steady.map(({ heapMegabytes }) => heapMegabytes)),
    total: trend(steady.map(({ totalMegabytes }) => totalMegabytes)),
    nodes,
  });
  await browser.close();
}

interface MemorySample {
  readonly minute: number;
  readonly steps: number;
  readonly heapMegabytes: number;
  readonly totalMegabytes: number;
}

/** The heap after garbage collection, and what the system counts for the page's process. */
async function readMemory(browser: Browser, session: CDPSession) {
  await session.send("HeapProfiler.collectGarbage");
  const { usedSize } = await session.send("Runtime.getHeapUsage");
  const whole = await browser.newBrowserCDPSession();
  const { processInfo } = await whole.send("SystemInfo.getProcessInfo");
  await whole.detach();
  const ids = processInfo.filter(({ type }) => type === "renderer").map(({ id }) => id);
  const sizes = execFileSync("ps", ["-o", "rss=", "-p", ids.join(",")], { encoding: "utf8" });
  const kilobytes = sizes.trim().split(/\s+/).map(Number);
  return {
    heapMegabytes: rounded(usedSize / 1e6, 2),
    totalMegabytes: rounded(kilobytes.reduce((sum, size) => sum + size, 0) / 1000, 1),
  };
}

/** Least, greatest, and the slope by least squares of one number a minute. */
function trend(values: readonly number[]) {
  const middle = (values.length - 1) / 2;
  const spread = values.reduce((sum, _, at) => sum + (at - middle) ** 2, 0);
  const rise = values.reduce((sum, value, at) => sum + value * (at - middle), 0);
  return {
    minMegabytes: Math.min(...values),
    maxMegabytes: Math.max(...values),
    megabytesPerMinute: rounded(rise / Math.max(spread, 1), 3),
  };
}

for (const [name, measure] of Object.entries({ first: firstView, pan, streams, memory })) {
  if (only !== undefined && only !== name) continue;
  const server = await startPageServer(PAGE_FOLDER);
  await measure(server).finally(server.close);
}
