// Whether a base in fewer bits, or computed in int8, trains adapters as well as float32: GSM8K with SmolLM2, several seeds.
import { spawn } from "node:child_process";
import { mkdir, readdir, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { z } from "zod";
import { pathExists, readJson, readJsonLines, writeFileAtomic } from "#files";
import { fail, readArguments } from "../../bench/arguments.ts";
import { type Cell, cellSchema, reportOf } from "./base-quality/report.ts";

const HELP = `usage: npm run verify:base-quality -- --model FILE.gguf --data DIR --work DIR [options]

Trains each cell (an adapter, a kind of base, a seed) with "mos train" and keeps its held-out loss before and after in a
JSON file of docs/results/base-quality; a cell whose file is there is not run again, and one that was stopped goes on
from its checkpoint. Then docs/results/base-quality.md is written from all cells that are there.

  --data DIR       holds train.jsonl and test.jsonl of GSM8K; the first 128 of test.jsonl are held out
  --kinds NAMES    float32,int8-compute,nf4,stored,int8,int4 (the first three)
  --seeds NUMBERS  0,1,2
  --method lora|mos (lora)   lora: rank 8, alpha 16; mos: --equivalent-rank 2, rank 8
  --work DIR       runs in the making
  --report         only write the report
  --threads N (2)`;

const KINDS: Readonly<Record<string, readonly string[]>> = {
  float32: ["--base-dtype", "float32"],
  stored: ["--base-dtype", "stored"],
  "int8-compute": ["--base-dtype", "stored", "--compute", "int8"],
  int8: ["--base-dtype", "int8"],
  int4: ["--base-dtype", "int4"],
  nf4: ["--base-dtype", "nf4"],
};

const METHODS: Readonly<Record<"lora" | "mos", readonly string[]>> = {
  lora: ["--method", "lora", "--rank", "8", "--alpha", "16"],
  mos: ["--method", "mos", "--equivalent-rank", "2", "--rank", "8", "--alpha", "16"],
};

/** The rate that is good for LoRA of rank 8 here; MoS has it too. */
const SETTINGS =
  "--dropout 0 --steps 100 --batch-size 4 --max-length 512 --learning-rate 2e-3 --save-every 20".split(" ");
const HELD_OUT = 128;
const CELLS = "docs/results/base-quality";
const REPORT = "docs/results/base-quality.md";

const given = readArguments(HELP, {
  values: ["model", "data", "work", "kinds", "seeds", "method", "threads"],
  flags: ["report"],
});

interface Wanted {
  readonly method: "lora" | "mos";
  readonly kind: string;
  readonly seed: number;
}

interface Run {
  readonly name: string;
  readonly folder: string;
  readonly args: readonly string[];
}

/** The first lines of a file, as a file of its own. */
async function firstLines(path: string, to: string): Promise<void> {
  const lines = (await readFile(path, "utf8")).split("\n").slice(0, HELD_OUT);
  await writeFileAtomic(to, `${lines.join("\n")}\n`);
}

/** Runs "mos train" to its end. */
async function trainRun({ name, folder, args }: Run): Promise<void> {
  if (await pathExists(join(folder, "adapter_config.json"))) return;
  const resume = (await pathExists(join(folder, "run.json"))) ? ["--resume"] : [];
  const all = ["dist/cli/main.js", "train", ...args, "--out", folder, "--quiet", ...resume];
  await new Promise<void>((resolve) => {
    const child = spawn(process.execPath, all, { stdio: ["ignore", "inherit", "inherit"] });
    child.on("close", (code) => (code === 0 ? resolve() : fail(`${name}: mos train ended with ${code}`)));
  });
}

const eventSchema = z.looseObject({
  type: z.string(),
  step: z.number(),
  loss: z.number(),
  seconds: z.number().optional(),
  tokens: z.number().optional(),
});

/** What is kept of a finished run. */
async function cellOf(wanted: Wanted, { folder, args }: Run): Promise<Cell> {
  const events: z.output<typeof eventSchema>[] = [];
  for await (const { value } of readJsonLines(join(folder, "metrics.jsonl")))
    events.push(eventSchema.parse(value));
  const steps = events.filter(({ type }) => type === "step");
  const losses = events.filter(({ type }) => type === "evaluation");
  const at = (step: number): number => losses.find((event) => event.step === step)?.loss ?? Number.NaN;
  const sum = (of: (event: (typeof steps)[number]) => number): number =>
    steps.reduce((total, event) => total + of(event), 0);
  return {
    ...wanted,
    before: at(0),
    after: at(steps.length),
    steps: steps.map(({ loss }) => Number(loss.toFixed(4))),
    tokensPerSecond: Number(
      (sum(({ tokens }) => tokens ?? 0) / sum(({ seconds }) => seconds ?? 0)).toFixed(1),
    ),
    settings: args.filter((arg) => !arg.includes("/")).join(" "),
  };
}

async function runCells(cells: readonly Wanted[]): Promise<void> {
  const model = given.text("model") ?? fail(HELP);
  const data = given.text("data") ?? fail(HELP);
  const work = given.text("work") ?? fail(HELP);
  await mkdir(join(work, "runs"), { recursive: true });
  const heldOut = join(work, "held-out.jsonl");
  await firstLines(join(data, "test.jsonl"), heldOut);
  for (const wanted of cells) {
    const { method, kind, seed } = wanted;
    const name = `${method}-${kind}-seed-${seed}`;
    const path = join(CELLS, `${name}.json`);
    if (await pathExists(path)) continue;
    const settings = [
      ...METHODS[method],
      ...(KINDS[kind] ?? fail(`--kinds ${kind}: known are ${Object.keys(KINDS)}`)),
    ];
    const files = ["--model", model, "--data", join(data, "train.jsonl"), "--held-out-data", heldOut];
    const args = [
      ...files,
      ...settings,
      ...SETTINGS,
      "--seed",
      `${seed}`,
      "--threads",
      given.text("threads") ?? "2",
    ];
    console.error(`${new Date().toISOString()} ${name}`);
    const run = {
      name,
      folder: join(work, "runs", `${method === "lora" ? "lora-8" : "mos-2"}-${kind}-seed-${seed}`),
      args,
    };
    await trainRun(run);
    await writeFileAtomic(path, `${JSON.stringify(await cellOf(wanted, run))}\n`);
  }
}

const split = (name: string, fallback: string): readonly string[] =>
  (given.text(name) ?? fallback).split(",");
const method = given.choice("method", ["lora", "mos"] as const);
const wanted = split("seeds", "0,1,2").flatMap((seed) =>
  split("kinds", "float32,int8-compute,nf4").map((kind) => ({ method, kind, seed: Number(seed) })),
);
await mkdir(CELLS, { recursive: true });
if (!given.flag("report")) await runCells(wanted);
const files = (await readdir(CELLS)).filter((name) => name.endsWith(".json")).sort();
const cells = await Promise.all(
  files.map((name) => readJson(join(CELLS, name), cellSchema, { code: "bad_data" })),
);
await writeFileAtomic(REPORT, reportOf(cells));
console.log(`${REPORT}: ${basename(CELLS)} has ${cells.length} cells`);
