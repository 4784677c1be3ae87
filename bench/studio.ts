// How fast the studio's page is in a real browser: the first view, curves of 100,000 points, streams of answers, and memory.
import { cpus } from "node:os";
import { type Browser, type CDPSession, chromium, type Page } from "playwright-core";
import { PAGE_FOLDER } from "../packages/studio/vite.config.ts";
import { median, readArguments, rounded } from "./arguments.ts";
import { LIVE_STEPS, LONG, type PageServer, startPageServer } from "./studio/page-server.ts";

const HELP = `usage: npm run bench:studio -- [--only first|pan|streams|memory] [--chromium /usr/bin/chromium]

The built page (npm run studio:build) before a server that computes nothing. Prints a JSON line each:
first    milliseconds from an empty cache to the list of 500 runs, of 5 browsers; kilobytes sent
pan      frames while a run of ${LONG} rows in five curves is panned and zoomed in four charts
streams  frames while seven models, as many as a comparison takes, answer with 100 tokens a second each
memory   the heap after garbage collection during 2,400 reads of a live run, as many as in an hour
Other load on the machine makes frames late; "cpuMs" is what the page's process computes for one.`;

const args = readArguments(HELP, { values: ["only", "chromium"], flags: [] });
const only = args.text("only");

const print = (name: string, figures: object): void =>
  console.log(JSON.stringify({ name, processor: cpus()[0]?.model, cores: cpus().length, ...figures }));

const launch = (): Promise<Browser> =>
  chromium.launch({
    executablePath: args.text("chromium") ?? "/usr/bin/chromium",
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
  const models = ["base", ...Array.from({ length: 6 }, (_, index) => `adapter-${index + 1}`)];
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

const READS = 2400;

async function memory(server: PageServer): Promise<void> {
  const browser = await launch();
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  const page = await context.newPage();
  // an hour in a minute or two: long waits are a hundredth as long
  await page.addInitScript(`{
    const wait = setTimeout;
    window.setTimeout = (run, ms = 0, ...rest) => wait(run, ms >= 1000 ? ms / 100 : ms, ...rest);
  }`);
  await page.goto(`${server.address}#/run/live`);
  const session = await context.newCDPSession(page);
  const heaps: number[] = [];
  for (let quarter = 1; quarter <= 4; quarter++) {
    while (server.liveSteps() < (quarter * READS * LIVE_STEPS) / 4) await page.waitForTimeout(200);
    heaps.push(await heapMegabytes(session));
  }
  const { nodes } = await session.send("Memory.getDOMCounters");
  print("memory", { reads: READS, steps: server.liveSteps(), heapMegabytes: heaps, nodes });
  await browser.close();
}

async function heapMegabytes(session: CDPSession): Promise<number> {
  await session.send("HeapProfiler.collectGarbage");
  const { usedSize } = await session.send("Runtime.getHeapUsage");
  return rounded(usedSize / 1e6, 1);
}

for (const [name, measure] of Object.entries({ first: firstView, pan, streams, memory })) {
  if (only !== undefined && only !== name) continue;
  const server = await startPageServer(PAGE_FOLDER);
  await measure(server).finally(server.close);
}
