// One case in a page of a Chromium of its own.
import { execFileSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { type Browser, chromium } from "playwright-core";
import { findChromium } from "../../scripts/chromium.ts";
import type { WebServer } from "../../scripts/web-server.ts";
import { addressOf, answerOf, type Case, costOfEach, type Mark, PROMPT, trainingOf } from "./cases.ts";

/** What a case costs. */
export interface Costs {
  /** Of an update or a token: CPU time of all threads of the page's process, and time. */
  readonly cpuMs: number;
  readonly wallMs: number;
  /** The most memory that the page's process had, in MB. */
  readonly peakMb: number;
  /** How late the latest of the page's timers of 50 ms was, from the first call to the end. */
  readonly pauseMs: number;
}

const TICKS = Number(execFileSync("getconf", ["CLK_TCK"], { encoding: "utf8" }));

/** The processes of pages below a process. */
async function renderers(browser: Browser): Promise<readonly number[]> {
  const session = await browser.newBrowserCDPSession();
  const { processInfo } = await session.send("SystemInfo.getProcessInfo");
  await session.detach();
  return processInfo.filter(({ type }) => type === "renderer").map(({ id }) => id);
}

/** CPU seconds of a process. */
async function cpuSeconds(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8");
  // the name may hold spaces
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}

/** The most memory that a process has had, in MB. */
async function peakMb(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/status`, "utf8");
  return Math.round((Number(/VmHWM:\s*(\d+)/.exec(text)?.[1]) * 1024) / 1e6);
}

/** The page's part: each update or token is told to `mark`. */
const script = ({ model, work, count, threads }: Case): string => `(async () => {
  const { openWeb } = await import("/mos/index.js");
  let [last, pauseMs] = [performance.now(), 0];
  setInterval(() => {
    const now = performance.now();
    pauseMs = Math.max(pauseMs, now - last - 50);
    last = now;
  }, 50);
  const mos = await openWeb({ runtime: "/runtime/", device: "wasm", threads: ${threads} });
  const model = await mos.loadModel(${JSON.stringify(addressOf(model))});
  const events = ${
    work === "decode"
      ? `mos.generate(model, ${JSON.stringify(PROMPT)}, ${JSON.stringify(answerOf(count))})`
      : `mos.finetune({ ...${JSON.stringify(trainingOf(work, count))}, model, out: "bench" })`
  };
  for await (const { type } of events) if (type === "${work === "decode" ? "token" : "step"}") await mark();
  return pauseMs;
})()`;

/** Runs a case. */
export async function runInPage(one: Case, { address }: Pick<WebServer, "address">): Promise<Costs> {
  const browser = await chromium.launch({ executablePath: findChromium(), args: ["--no-sandbox"] });
  try {
    const page = await browser.newPage();
    await page.goto(`${address}/`);
    const pids = await renderers(browser);
    const total = async (of: (pid: number) => Promise<number>): Promise<readonly number[]> =>
      Promise.all(pids.map((pid) => of(pid).catch(() => 0)));
    const marks: Mark[] = [];
    await page.exposeFunction("mark", async () => {
      const cpu = (await total(cpuSeconds)).reduce((sum, seconds) => sum + seconds, 0);
      marks.push({ cpu, wall: performance.now() / 1000 });
    });
    const pauseMs = Number(await page.evaluate(script(one)));
    return {
      ...costOfEach(marks),
      peakMb: Math.max(...(await total(peakMb))),
      pauseMs: Math.round(pauseMs),
    };
  } finally {
    await browser.close();
  }
}
