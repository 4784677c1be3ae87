// Random weights in the shapes of a published model: for measurements of speed and memory, which do not mind what a
// model says. usage: npm run random-model -- --help
import { parseArgs } from "node:util";
import { MosError } from "#core";
import type { GgufType } from "#formats";
import { type ModelConfig, presetConfig, presets } from "#models";
import { describeBytes, pathExists } from "#storage";
import { blockFormats } from "../src/formats/dequantize.ts";
import { checkConfig } from "../src/models/config.ts";
import { paddedTokenizer, SPECIAL } from "./random-model/padded-tokenizer.ts";
import {
  type PlainType,
  type RandomModel,
  writeRandomFolder,
  writeRandomGguf,
} from "./random-model/write-random.ts";

const TYPES = Object.keys(blockFormats);
const HELP = `usage: npm run random-model -- --preset NAME [--type Q4_1] [--format gguf|folder] --out FILE.gguf|FOLDER

Writes a model of random weights: normal numbers of deviation 0.02 (or random codes with such scales), norm gains near 1,
and the bundled tokenizer with further tokens up to the vocabulary. Tensors are written one by one; the same options give
the same bytes.

  --preset NAME      ${Object.keys(presets).join(", ")}
  --type TYPE        of the matrices: ${TYPES.join(", ")} (Q4_1; of a folder F16, BF16 or F32)
  --head TYPE        of the matrix of the logits, which is also the embedding where both are one
                     (as llama.cpp chooses: Q6_K with the 4- and 5-bit types, where its blocks fit, otherwise TYPE)
  --format FORMAT    gguf, or folder for Hugging Face's layout (gguf)
  --seed N (0)
  --layers N, --hidden N, --inner N, --heads N, --kv-heads N, --vocabulary N, --positions N
                     in place of the preset's`;

const { values } = parseArgs({
  options: {
    ...{ preset: { type: "string" }, type: { type: "string" }, head: { type: "string" } },
    ...{ format: { type: "string", default: "gguf" }, out: { type: "string" } },
    ...{ seed: { type: "string", default: "0" }, help: { type: "boolean" } },
    ...{ layers: { type: "string" }, hidden: { type: "string" }, inner: { type: "string" } },
    ...{ heads: { type: "string" }, "kv-heads": { type: "string" }, vocabulary: { type: "string" } },
    positions: { type: "string" },
  },
});

const fail = (message: string): never => {
  throw new MosError("bad_option", message);
};

function countAt(name: keyof typeof values, fallback: number): number {
  const value = values[name];
  if (value === undefined) return fallback;
  const count = Number(value);
  return Number.isInteger(count) && count > 0
    ? count
    : fail(`--${name} ${value}: give a whole number above 0`);
}

function typeAt(name: "type" | "head", fallback: GgufType): GgufType {
  const value = values[name] ?? fallback;
  return Object.hasOwn(blockFormats, value)
    ? (value as GgufType)
    : fail(`--${name} ${value}: known are ${TYPES.join(", ")}`);
}

/** The preset, with the sizes that were given instead, and the special tokens of the tokenizer that is written. */
function configOf(preset: string): ModelConfig {
  const config = presetConfig(preset);
  const hiddenSize = countAt("hidden", config.hiddenSize);
  const heads = countAt("heads", config.heads);
  const resized = values.hidden !== undefined || values.heads !== undefined;
  const { start, end } = SPECIAL;
  return checkConfig(
    {
      ...config,
      hiddenSize,
      heads,
      headDim: resized ? hiddenSize / heads : config.headDim,
      layers: countAt("layers", config.layers),
      intermediateSize: countAt("inner", config.intermediateSize),
      keyValueHeads: countAt("kv-heads", config.keyValueHeads),
      vocabularySize: countAt("vocabulary", config.vocabularySize),
      maxPositions: countAt("positions", config.maxPositions),
      ...{ bosToken: start, eosTokens: [end], padToken: start },
    },
    preset,
  );
}

/** What llama.cpp's quantiser makes of the matrix of the logits. */
const headTypeFor = (type: GgufType, { hiddenSize }: ModelConfig): GgufType =>
  /^Q[45]/.test(type) && hiddenSize % blockFormats.Q6_K.blockSize === 0 ? "Q6_K" : type;

/** A line that is written over, or nothing where output is not a terminal. */
function progress(): RandomModel["onProgress"] {
  const started = performance.now();
  let shown = 0;
  return (done, total) => {
    const now = performance.now();
    if (!process.stderr.isTTY || (now - shown < 200 && done < total)) return;
    shown = now;
    const left = ((now - started) / done) * ((total - done) / 1000);
    process.stderr.write(`\r${describeBytes(done)} of ${describeBytes(total)}, ${left.toFixed(0)} s left   `);
    if (done === total) process.stderr.write("\n");
  };
}

async function main(): Promise<void> {
  if (values.help === true) return console.log(HELP);
  const { out, format } = values;
  if (values.preset === undefined || out === undefined) return fail(HELP);
  if (format !== "gguf" && format !== "folder") return fail(`--format ${format}: give gguf or folder`);
  if (await pathExists(out)) return fail(`${out} exists already; remove it or choose another name`);
  const config = configOf(values.preset);
  const type = typeAt("type", format === "gguf" ? "Q4_1" : "BF16");
  const { vocabularySize, maxPositions } = config;
  const tokenizer = await paddedTokenizer(vocabularySize, { maxPositions });
  const headType = typeAt("head", headTypeFor(type, config));
  const model = {
    name: values.preset,
    config,
    tokenizer,
    seed: Number(values.seed),
    type,
    headType,
    onProgress: progress(),
  };
  const started = performance.now();
  if (format === "gguf") await writeRandomGguf(out, model);
  else if (/^B?F/.test(type)) await writeRandomFolder(out, { ...model, type: type as PlainType });
  else return fail(`--type ${type}: a folder holds F16, BF16 or F32`);
  console.log(`${out}: ${values.preset}, ${type}, in ${((performance.now() - started) / 1000).toFixed(0)} s`);
}

try {
  await main();
} catch (error) {
  if (!(error instanceof MosError)) throw error;
  console.error(error.message);
  process.exitCode = 2;
}
