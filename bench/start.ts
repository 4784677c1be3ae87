// How long mos serve takes until it is ready: the first start with a base dtype, which packs the weights, and the second,
// which finds them kept. usage: npm run bench:start -- --help   (of the built package: npm run build)
import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { fail, readArguments } from "./arguments.ts";

const HELP = `usage: npm run bench:start -- --model FILE.gguf|FOLDER [--base-dtype int4] [--rounds 3]

Removes what is kept beside the model, and starts a server once and then --rounds times. Prints one JSON line: seconds until
each is ready, and the seconds of CPU that its processes had taken then, which other load on the machine affects less.`;

const args = readArguments(HELP, { values: ["model", "base-dtype", "rounds"], flags: [] });
const model = args.text("model") ?? fail("give --model");
const baseDtype = args.choice("base-dtype", ["int4", "int8"]);
const rounds = args.number("rounds", 3);

/** A process and those that it started. */
function family(pid: number): readonly number[] {
  const children = readdirSync(`/proc/${pid}/task`).flatMap((task) =>
    readFileSync(`/proc/${pid}/task/${task}/children`, "utf8").trim().split(" "),
  );
  return [pid, ...children.filter((child) => child !== "").flatMap((child) => family(Number(child)))];
}

/** Seconds in which a process has computed, by Linux's clock of 100 ticks a second; peak bytes of its memory. */
function readUsage(pid: number): { readonly cpu: number; readonly peak: number } {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [];
  const [, kilobytes = "0"] = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return { cpu: (Number(fields[11]) + Number(fields[12])) / 100, peak: Number(kilobytes) * 1024 };
}

const untilReady = (server: ChildProcess): Promise<void> =>
  new Promise((resolve, reject) => {
    server.stdout?.once("data", () => resolve());
    server.once("exit", (code) => reject(new Error(`mos serve ended with ${code}`)));
  });

async function start() {
  const begun = performance.now();
  const options = ["serve", "--json", "--quiet", "--port", "0", "--model", model, "--base-dtype", baseDtype];
  const server = spawn(process.execPath, ["packages/mos/dist/cli/main.js", ...options], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await untilReady(server);
  const seconds = (performance.now() - begun) / 1000;
  const usage = family(server.pid ?? 0).map(readUsage);
  const ended = new Promise((resolve) => server.once("exit", resolve));
  server.kill("SIGTERM");
  await ended;
  const cpu = usage.reduce((sum, one) => sum + one.cpu, 0);
  return { seconds, cpu, peak_gb: Math.max(...usage.map(({ peak }) => peak)) / 1e9 };
}

// a folder may also hold one GGUF file, which has its own
const kept = statSync(model).isDirectory()
  ? readdirSync(model)
      .filter((name) => name.endsWith(".mos"))
      .map((name) => join(model, name))
  : [`${model}.mos`];
for (const folder of kept) rmSync(folder, { recursive: true, force: true });
const first = await start();
const later: Awaited<ReturnType<typeof start>>[] = [];
for (let i = 0; i < rounds; i++) later.push(await start());
const best = later.toSorted((a, b) => a.cpu - b.cpu)[0];
console.log(
  JSON.stringify(
    { model, base_dtype: baseDtype, first, second: best, cpu_ratio: (best?.cpu ?? 0) / first.cpu },
    (_, value: unknown) => (typeof value === "number" ? Number(value.toFixed(3)) : value),
  ),
);
