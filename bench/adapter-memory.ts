// What resident adapters cost in memory, measured beside the arithmetic, and how fast folders are registered and loaded.
import { fork } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { type LayerShapes, parseAdapterConfig } from "mixture-of-shards-core/adapters";
import { presetConfig, readModelConfig, toLayerShapes } from "mixture-of-shards-core/models";
import {
  type ResidentDtype,
  residentBytes,
} from "../packages/core/src/inference/adapters/compact-adapter.ts";
import { openAdapterManager } from "../packages/core/src/inference/adapters/manager.ts";
import { KINDS, type Kind, writeAdapters } from "./adapter-folders.ts";
import { fail, median, printResult, readArguments, rounded } from "./arguments.ts";

const HELP = `usage: bench:adapter-memory -- [--model DIR|FILE.gguf] [--adapters 200] [--lora 50] [--folder DIR] [--json]

Writes so many MoS adapters (e = 2, r = 8) and rank-8 LoRAs of a model with random numbers, unless DIR has them
already, then registers each kind and makes all of it resident, in bfloat16 and in float32, in a process of its own.
Printed of each: bytes of one adapter by the arithmetic, and measured as the growth of the process (resident set) and of
its array buffers from the first quarter of the adapters to all of them; seconds to register all, to look again where nothing changed, and to load one. At the end what a MoS
adapter takes of a LoRA's bytes.

  --model PATH   whose shapes count; left out, those of SmolLM2-135M
  --adapters N   of MoS, about 2.5 MB of disk each (200)
  --lora N       rank-8 LoRAs to compare with, about 10 MB each (50)
  --folder DIR   where they are kept; left out, they are removed in the end`;

const FINGERPRINT = "sha256:bench";
const DTYPES = ["bfloat16", "float32"] as const;
/** The part that is loaded before growth is measured: code, caches and what the allocator keeps are there then. */
const WARM_UP = 0.25;

const given = readArguments(HELP, {
  values: ["model", "adapters", "lora", "folder", "measure", "dtype"],
  flags: ["json"],
});
const model = given.text("model");
const config = model === undefined ? presetConfig("smollm2-135m") : await readModelConfig(model);
const shapes: LayerShapes = toLayerShapes(config);
setFlagsFromString("--expose-gc");
const collect: () => void = runInNewContext("gc");

async function memory(): Promise<{ readonly process: number; readonly buffers: number }> {
  for (let i = 0; i < 3; i++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 200)); // buffers are given back behind the collector
  }
  const { rss, arrayBuffers } = process.memoryUsage();
  return { process: rss, buffers: arrayBuffers };
}

const timed = async <T>(work: () => Promise<T>): Promise<readonly [seconds: number, result: T]> => {
  const start = performance.now();
  const result = await work();
  return [(performance.now() - start) / 1000, result];
};

async function measure(folder: string, dtype: ResidentDtype): Promise<Readonly<Record<string, number>>> {
  const open = (path: string) =>
    openAdapterManager({
      source: path,
      shapes,
      fingerprint: FINGERPRINT,
      limitBytes: Number.MAX_SAFE_INTEGER,
      dtype,
      now: () => performance.now(),
      pollSeconds: 0,
    });
  const [registerSeconds, manager] = await timed(() => open(folder));
  const [lookSeconds] = await timed(() => manager.refresh());
  const names = manager.list().map(({ name }) => name);
  const warm = Math.ceil(names.length * WARM_UP);
  for (const name of names.slice(0, warm)) (await manager.acquire(name))[Symbol.dispose]();
  const before = await memory();
  for (const name of names.slice(warm)) (await manager.acquire(name))[Symbol.dispose]();
  const after = await memory();
  const expandSeconds: number[] = [];
  for (const name of names.slice(0, 50)) {
    using lease = await manager.acquire(name);
    expandSeconds.push((await timed(async () => lease.expand()))[0]);
  }
  const grown = (of: "process" | "buffers"): number => (after[of] - before[of]) / (names.length - warm);
  const { resident, residentBytes: bytes, loadSeconds } = manager.stats();
  return {
    adapters: resident,
    arithmetic_bytes: bytes / resident,
    process_bytes: Math.round(grown("process")),
    buffer_bytes: Math.round(grown("buffers")),
    process_over_arithmetic: rounded((grown("process") * resident) / bytes, 4),
    register_s: rounded(registerSeconds, 2),
    look_again_s: rounded(lookSeconds, 3),
    load_ms: rounded((loadSeconds / resident) * 1000, 2),
    expand_ms: rounded(median(expandSeconds) * 1000, 2),
  };
}

/** Measures in a new process, which has nothing of the others in its memory. */
function inOwnProcess(folder: string, dtype: ResidentDtype): Promise<Readonly<Record<string, number>>> {
  return new Promise((resolve, reject) => {
    const script = process.argv[1] ?? "";
    const same = model === undefined ? [] : ["--model", model];
    const child = fork(script, [...same, "--measure", folder, "--dtype", dtype]);
    child.once("message", (message) => resolve(message as Readonly<Record<string, number>>));
    child.once("exit", (code) => reject(new Error(`measuring ended with ${code}`)));
  });
}

async function compare(folder: string): Promise<void> {
  const counts = { mos: given.number("adapters", 200), lora: given.number("lora", 50) };
  for (const dtype of DTYPES) {
    const process: Partial<Record<Kind, number>> = {};
    for (const kind of ["mos", "lora"] as const) {
      await writeAdapters(join(folder, kind), {
        shapes,
        kind,
        count: counts[kind],
        fingerprint: FINGERPRINT,
      });
      const result = await inOwnProcess(join(folder, kind), dtype);
      process[kind] = result["process_bytes"] ?? Number.NaN;
      printResult({ kind, dtype, ...result }, given.flag("json"));
    }
    const bytes = (kind: Kind): number =>
      residentBytes(parseAdapterConfig({ ...KINDS[kind], seed: 0 }), shapes, dtype).own;
    const ratios = {
      dtype,
      of_lora_arithmetic: rounded(bytes("mos") / bytes("lora"), 4),
      of_lora_measured: rounded((process.mos ?? Number.NaN) / (process.lora ?? Number.NaN), 4),
      two_gb_hold: Math.floor(2e9 / bytes("mos")),
    };
    printResult(ratios, given.flag("json"));
  }
}

const measured = given.text("measure");
if (measured === undefined) {
  const kept = given.text("folder");
  const folder = kept ?? (await mkdtemp(join(tmpdir(), "bench-adapters-")));
  await compare(folder).finally(() => (kept === undefined ? rm(folder, { recursive: true }) : undefined));
} else {
  const dtype = DTYPES.find((known) => known === given.text("dtype")) ?? fail(HELP);
  process.send?.(await measure(measured, dtype));
}
