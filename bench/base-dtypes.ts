// Fine-tuning and decoding by how the base is kept and computed, beside PEFT and llama.cpp (docs/explanation/benchmarks.md).
import { readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { pathExists } from "#files";
import { fail, median, readArguments, rounded } from "./arguments.ts";
import { type Result, runForJson } from "./child.ts";
import { DECODE, decodeTable, type Measured, TRAIN, trainTable, type Variant } from "./dtypes.ts";

const HELP = `usage: bench:base-dtypes -- --part train-1x256|train-4x256|gsm8k|decode --models DIR [--rounds 3] [--out FILE.json]

Runs every variant of a part by turns, each in a process of its own, and prints medians, the least and the most, ratios
and the processor's flags. With --out, runs are kept there, and those that it already has are not repeated.

  --models DIR        holds llama3.2-1b.Q4_0.gguf and llama3.2-1b.Q4_1.gguf (npm run random-model), and for gsm8k
                      SmolLM2-135M-Instruct.Q4_1.gguf
  --data FILE         gsm8k/train.jsonl
  --llama DIR         a folder with node-llama-cpp, for decode
  --only NAMES        variants, with commas between them
  --python PROGRAM (python3)   --steps N (4)`;

const given = readArguments(HELP, {
  values: ["part", "models", "rounds", "out", "data", "llama", "only", "python", "steps"],
  flags: [],
});
const models = resolve(given.text("models") ?? fail(HELP));
const rounds = given.number("rounds", 3);
const out = given.text("out");
const places = {
  model: (name: string): string => join(models, name),
  data: given.text("data") ?? "gsm8k/train.jsonl",
  llama: given.text("llama") ?? ".",
  python: given.text("python") ?? "python3",
  steps: given.number("steps", 4),
};
const parts: Readonly<Record<string, readonly Variant[]>> = { ...TRAIN(places), ...DECODE(places) };
const part = given.text("part") ?? fail(HELP);
const only = given.text("only")?.split(",");
const variants = (
  parts[part] ?? fail(`--part ${part}: ${Object.keys(parts).join(", ")} are possible`)
).filter(({ name }) => only?.includes(name) ?? true);

/** What of a processor decides the speed of products in each type. */
async function processorFlags(): Promise<readonly string[]> {
  const info = await readFile("/proc/cpuinfo", "utf8").catch(() => "");
  const flags = /^flags\s*:(.*)$/m.exec(info)?.[1]?.trim().split(/\s+/) ?? [];
  return flags.filter((flag) => /^(avx2|avx512f|avx512_(vnni|bf16|fp16)|avx_vnni|amx_\w+)$/.test(flag));
}

interface Kept {
  readonly flags: readonly string[];
  readonly runs: Readonly<Record<string, readonly Result[]>>;
}

const kept: Kept =
  out !== undefined && (await pathExists(out))
    ? JSON.parse(await readFile(out, "utf8"))
    : { flags: await processorFlags(), runs: {} };
const runs = new Map(Object.entries(kept.runs).map(([name, results]) => [name, [...results]]));
const listRuns = (name: string): readonly Result[] => runs.get(`${part} ${name}`) ?? [];

for (let round = 1; round <= rounds; round++)
  for (const { name, command } of variants) {
    if (listRuns(name).length >= round) continue;
    const result = await runForJson(name, command);
    runs.set(`${part} ${name}`, [...listRuns(name), result]);
    console.error(`${round}/${rounds} ${name}: ${JSON.stringify(result)}`);
    const record: Kept = { ...kept, runs: Object.fromEntries(runs) };
    if (out !== undefined) await writeFile(out, `${JSON.stringify(record, null, 2)}\n`);
  }

/** Median, least and most of a number that runs report. */
const measured = (name: string, field: string): Measured => {
  const values = listRuns(name).map((result) => Number(result[field]));
  return {
    median: rounded(median(values), 2),
    least: Math.min(...values),
    most: Math.max(...values),
    rounds: values.length,
  };
};

console.log(`processor: ${kept.flags.join(" ")}\n`);
console.log(
  part === "decode" ? await decodeTable(variants, measured, places) : trainTable(variants, measured),
);
