// Fine-tuning and decoding by how the base is kept and computed, beside PEFT and llama.cpp (docs/explanation/benchmarks.md).
import { join, resolve } from "node:path";
import { fail, readArguments } from "./arguments.ts";
import { DECODE, decodeTable, TRAIN, trainTable } from "./dtypes.ts";
import { runRounds, type Variant } from "./rounds.ts";

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

const { flags, measured } = await runRounds(variants, { rounds, part, out });
console.log(`processor: ${flags.join(" ")}\n`);
console.log(
  part === "decode" ? await decodeTable(variants, measured, places) : trainTable(variants, measured),
);
