// What the library costs in a page of Chromium, beside Node on the same machine.
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { bundleWeb } from "../scripts/bundle-web.ts";
import { startWebServer } from "../scripts/web-server.ts";
import { fail, median, readArguments, rounded } from "./arguments.ts";
import { runForJson } from "./child.ts";
import type { Case } from "./web/cases.ts";
import { type Costs, runInPage } from "./web/in-page.ts";

const HELP = `usage: npm run bench:web -- --model FILE.gguf [--only NAME,NAME] [--rounds 3] [--scale 1]

Each case runs in a page of a fresh Chromium, which CHROMIUM may name, and then on Node, in turns: --rounds times. Prints a JSON line
each, with medians of the rounds: milliseconds of CPU time and of time for an update or a token, the ratio of CPU times, the most
memory of the page's process and of Node's, and how late the page's timers were. The model is SmolLM2-135M-Instruct in Q4_1.

train-bundled   2 × 64 tokens, the bundled model       limits: 4 × Node's CPU time, 450 MB, 200 ms
train-small     1 × 64 tokens, the model               limits: 4 ×, 1300 MB, 200 ms
decode-bundled  one stream, the bundled model          limit: 3.5 ×
decode-small    one stream, the model                  limit: 5 ×
threads         train-small with two threads in a page, by its time with one     limit: 1.5 ×
bytes           code, WebAssembly and the bundled model before the first update, each compressed by gzip     limit: 6 MB

--scale 0.1 counts a tenth of the updates and tokens, to try it out.`;

const args = readArguments(HELP, { values: ["model", "only", "rounds", "scale"], flags: [] });
const only = args.text("only")?.split(",");
const rounds = args.number("rounds", 3);
const scale = args.number("scale", 1);
const isWanted = (name: string): boolean => only === undefined || only.includes(name);

const bundled = join(import.meta.dirname, "../packages/mos/assets/tiny-english");
const small =
  args.text("model") ?? (only?.every((name) => /bundled|bytes/.test(name)) ? bundled : fail(HELP));
const counted = (count: number): number => Math.max(3, Math.round(scale * count));

const cases: readonly Case[] = [
  { name: "train-bundled", model: bundled, work: { rows: 2, length: 64 }, count: counted(60), threads: 1 },
  { name: "train-small", model: small, work: { rows: 1, length: 64 }, count: counted(8), threads: 1 },
  { name: "decode-bundled", model: bundled, work: "decode", count: counted(200), threads: 1 },
  { name: "decode-small", model: small, work: "decode", count: counted(40), threads: 1 },
];

const print = (name: string, figures: object): void =>
  console.log(JSON.stringify({ name, processor: cpus()[0]?.model, cores: cpus().length, ...figures }));

const onNode = (one: Case): Promise<Omit<Costs, "pauseMs">> =>
  runForJson(
    one.name,
    `node --conditions=source --import tsx ${join(import.meta.dirname, "web/on-node.ts")} '${JSON.stringify(one)}'`,
  ) as Promise<Omit<Costs, "pauseMs">>;

const bundles = await mkdtemp(join(tmpdir(), "mos-bench-web-"));
await bundleWeb({ folder: bundles });
using server = await startWebServer({ bundles, folders: { "/models/": dirname(small) } });

const middle = <T>(results: readonly T[], of: (result: T) => number): number =>
  rounded(median(results.map(of)), 2);

for (const one of cases) {
  if (!isWanted(one.name)) continue;
  const pairs: { readonly page: Costs; readonly node: Omit<Costs, "pauseMs"> }[] = [];
  for (let round = 0; round < rounds; round++)
    pairs.push({ page: await runInPage(one, server), node: await onNode(one) });
  print(one.name, {
    ratio: middle(pairs, ({ page, node }) => page.cpuMs / node.cpuMs),
    pageCpuMs: middle(pairs, ({ page }) => page.cpuMs),
    nodeCpuMs: middle(pairs, ({ node }) => node.cpuMs),
    pageMs: middle(pairs, ({ page }) => page.wallMs),
    pagePeakMb: Math.max(...pairs.map(({ page }) => page.peakMb)),
    nodePeakMb: Math.max(...pairs.map(({ node }) => node.peakMb)),
    pauseMs: Math.max(...pairs.map(({ page }) => page.pauseMs)),
  });
}

if (isWanted("threads")) {
  const [, training] = cases;
  const pairs: { readonly one: Costs; readonly two: Costs }[] = [];
  for (let round = 0; round < rounds; round++)
    pairs.push({
      one: await runInPage(training as Case, server),
      two: await runInPage({ ...(training as Case), threads: 2 }, server),
    });
  print("threads", {
    gain: middle(pairs, ({ one, two }) => one.wallMs / two.wallMs),
    oneMs: middle(pairs, ({ one }) => one.wallMs),
    twoMs: middle(pairs, ({ two }) => two.wallMs),
  });
}

if (isWanted("bytes")) {
  using fresh = await startWebServer({ bundles });
  await runInPage({ ...(cases[0] as Case), count: 1 }, fresh);
  const sizes: Record<string, number> = {};
  for (const path of new Set(fresh.requests)) {
    const file = fresh.fileOf(path);
    const isThere = file !== undefined && (await stat(file).catch(() => undefined)) !== undefined;
    if (isThere) sizes[path] = gzipSync(await readFile(file), { level: 9 }).length;
  }
  print("bytes", { all: Object.values(sizes).reduce((sum, size) => sum + size, 0), ...sizes });
}

await rm(bundles, { recursive: true });
