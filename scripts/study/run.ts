// Runs the study of docs/results/plan.md: every stage in its order, each cell once, on any machine and as often as it is
// stopped. usage: node --conditions=source --import tsx scripts/study/run.ts --help
import { execFileSync } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { z } from "zod";
import { MosError } from "#core";
import { makeFolder, pathExists, readJson } from "#files";
import { exportCells, importCells, type Origin } from "./cell-files.ts";
import { runChild, whilePaused } from "./child.ts";
import { argumentsOf, cellsName, FACTS, folderOf, type Places, STAGES, type Stage } from "./stages.ts";

const HELP = `usage: node --conditions=source --import tsx scripts/study/run.ts --model FILE.gguf --data DIR --work DIR --tree DIR

Runs the stages of the study that are not finished, in their order, with the build of this clone (npm run build).

  --model FILE   SmolLM2-135M-Instruct.Q4_1.gguf
  --gemma FILE   gemma-3-270m-q4_k_m.gguf; without it the stages of Gemma 3 are left out
  --data DIR     holds gsm8k/train.jsonl, gsm8k/test.jsonl and tydiqa/*-train.json, *-dev.json
  --work DIR     converted data and cells in the making; a cell that was killed goes on from its checkpoint there
  --tree DIR     a clone: each finished cell becomes a file in its docs/results/study/cells, to be committed from time to
                 time, and is known from there on another machine
  --pause FILE   while this file exists, nothing runs (default: WORK.pause)
  --tasks NAMES  stages of these tasks only, with commas between them
  --list         the stages, and nothing is run
  --status       what is done and what remains; nothing is run`;

const { values } = parseArgs({
  options: {
    model: { type: "string" },
    gemma: { type: "string" },
    data: { type: "string" },
    work: { type: "string" },
    tree: { type: "string" },
    pause: { type: "string" },
    tasks: { type: "string" },
    list: { type: "boolean" },
    status: { type: "boolean" },
    help: { type: "boolean" },
  },
});

/** The word that stands for a path in what is committed. */
const nameless = (text: string, { model, gemma = model, data, work }: Places): string =>
  [
    [model, basename(model)],
    [gemma, basename(gemma)],
    [work, "WORK"],
    [data, "DATA"],
  ].reduce((named, [path = "", word = ""]) => named.replaceAll(path, word), text);

function required(name: "model" | "data" | "work" | "tree"): string {
  const value = values[name];
  if (value === undefined) throw new MosError("bad_option", `give --${name}\n\n${HELP}`);
  return value;
}

const node = ["--conditions=source", "--import", "tsx"];

/** Makes the data that scripts make: facts anew each time, TyDi QA's questions where they are not there yet. */
async function makeData({ model, data, work }: Places): Promise<void> {
  const make = (script: string, args: readonly string[]): void => {
    execFileSync(process.execPath, [...node, script, ...args], { stdio: ["ignore", "ignore", "inherit"] });
  };
  for (const [name, args] of Object.entries(FACTS))
    make("scripts/study/tenants.ts", [...args, "--out", join(work, "data", name)]);
  // the last file that the script writes
  if (await pathExists(join(work, "data", "tydiqa", "held-out.jsonl"))) return;
  const paths = ["--data", join(data, "tydiqa"), "--model", model, "--out", join(work, "data", "tydiqa")];
  make("scripts/study/tydiqa.ts", paths);
}

/** A run that outlived the program which started it would keep its folder. */
async function endOrphan(run: string): Promise<void> {
  const holder = z.looseObject({ pid: z.int() });
  const path = join(run, "running.json");
  if (!(await pathExists(path))) return;
  const { pid } = await readJson(path, holder, { code: "bad_data" });
  const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
  if (!command.split("\0").includes(run)) return;
  process.kill(-pid, "SIGCONT");
  process.kill(-pid, "SIGTERM");
  while (await pathExists(`/proc/${pid}`)) await new Promise((resolve) => setTimeout(resolve, 200));
}

/** The rates of a stage; of one that has the rate of another row, as that row's report says. */
async function ratesOf({ rates }: Stage, run: string): Promise<readonly number[] | undefined> {
  if (!("tunedOf" in rates)) return rates;
  const report = z.looseObject({
    rows: z.array(z.looseObject({ key: z.string(), learningRate: z.number().optional() })),
  });
  const path = join(run, "figure1.json");
  if (!(await pathExists(path))) return undefined;
  const { rows } = await readJson(path, report, { code: "bad_data" });
  const rate = rows.find(({ key }) => key === rates.tunedOf)?.learningRate;
  return rate === undefined ? undefined : [rate];
}

const say = (text: string): void => console.log(`${new Date().toISOString()} ${text}`);

interface Study {
  readonly places: Places;
  readonly cells: string;
  readonly pause: string;
  readonly commit: string;
  readonly signal: AbortSignal;
}

async function runStage(stage: Stage, { places, cells, pause, commit, signal }: Study): Promise<void> {
  const run = folderOf(places, stage);
  const rates = await ratesOf(stage, run);
  if (rates === undefined) return say(`${stage.name}: left out, since its rate is not known`);
  const args = argumentsOf(stage, places, rates);
  if (args === undefined) return say(`${stage.name}: left out, since its model is not given`);
  const task = cellsName(stage);
  const origin: Origin = { task, commit, command: nameless(`mos ${args.join(" ")}`, places) };
  await importCells(run, cells, task);
  await endOrphan(run);
  say(stage.name);
  let writing = Promise.resolve(0);
  const take = (line: string): void => {
    const event = z.looseObject({ type: z.string() }).safeParse(JSON.parse(line)).data;
    if (event?.type === "result" || event?.type === "failed") {
      say(line);
      writing = writing.then(() => exportCells(run, cells, origin));
      writing.catch((error: unknown) => say(String(error)));
    }
  };
  const code = await runChild(["dist/cli/main.js", ...args], { pause, signal, onLine: take });
  await writing;
  await exportCells(run, cells, origin);
  if (!signal.aborted) say(`${stage.name}: ended with ${code}`);
}

/** What is finished of each run, and what is left of each stage. */
async function status(cells: string): Promise<void> {
  const tasks = (await pathExists(cells)) ? (await readdir(cells)).sort() : [];
  for (const task of tasks) {
    const files = (await readdir(join(cells, task), { recursive: true })).filter((name) =>
      name.endsWith(".json"),
    );
    const tuning = files.filter((name) => basename(name).startsWith("tuning-")).length;
    console.log(`${task}: ${files.length - tuning} cells measured, ${tuning} tuned`);
  }
  for (const stage of STAGES) {
    const { name, rows, seeds, rates } = stage;
    // a stage with one rate is done with that rate; another length has a folder of its own
    const end = "tunedOf" in rates || rates.length > 1 ? "" : `-rate-${rates[0]}.json`;
    const task = cellsName(stage);
    const wanted = rows.flatMap((row) =>
      Array.from({ length: row === "base" ? 1 : seeds }, (_, seed) => ({ row, seed })),
    );
    const files = await Promise.all(
      wanted.map(async ({ row, seed }) => {
        const folder = join(cells, task, row);
        const names = (await pathExists(folder)) ? await readdir(folder) : [];
        return names.some((file) => file.startsWith(`seed-${seed}-`) && file.endsWith(end));
      }),
    );
    const left = files.filter((isThere) => !isThere).length;
    console.log(`${left === 0 ? "done" : `${left} of ${files.length} left`}: ${name}`);
  }
}

async function main(): Promise<void> {
  if (values.help === true) return console.log(HELP);
  const tasks = values.tasks?.split(",");
  const stages = STAGES.filter(({ task }) => tasks === undefined || tasks.includes(task));
  if (values.list === true) return console.log(stages.map(({ name }) => name).join("\n"));
  const cells = join(required("tree"), "docs", "results", "study", "cells");
  if (values.status === true) return status(cells);
  const { gemma } = values;
  const places = { model: required("model"), gemma, data: required("data"), work: required("work") };
  const pause = values.pause ?? `${places.work}.pause`;
  const controller = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, () => controller.abort());
  const { signal } = controller;
  const commit = execFileSync("git", ["rev-parse", "HEAD"], { encoding: "utf8" }).trim();
  await makeFolder(cells);
  await makeFolder(join(places.work, "data"));
  await makeData(places);
  for (const stage of stages) {
    await whilePaused(pause, signal);
    if (!signal.aborted) await runStage(stage, { places, cells, pause, commit, signal });
    if (signal.aborted) return say("stopped; the same command goes on");
  }
  say("all stages have been run; --status says what is missing");
}

try {
  await main();
} catch (error) {
  if (!(error instanceof MosError)) throw error;
  console.error(error.message);
  process.exitCode = 2;
}
