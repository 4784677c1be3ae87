// Random weights in the shapes of a published model: for measurements of speed and memory, which do not mind what a
// model says. usage: npm run random-model -- --help
import { parseArgs } from "node:util";
import { describeBytes, MosError } from "mixture-of-shards-core/common";
import { blockFormats, pathExists, type StoredType } from "mixture-of-shards-core/files";
import { type ModelConfig, PRESET_NAMES, presetConfig } from "mixture-of-shards-core/models";
import { checkConfig } from "../packages/core/src/models/config.ts";
import { paddedTokenizer, SPECIAL } from "./random-model/padded-tokenizer.ts";
import { type OtherSizes, resizedConfig } from "./random-model/resized-config.ts";
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

  --preset NAME      ${PRESET_NAMES.join(", ")}
  --type TYPE        of the matrices: ${TYPES.join(", ")} (Q4_1; of a folder F16, BF16 or F32)
  --head TYPE        of the matrix of the logits, which is also the embedding where both are one
                     (as llama.cpp chooses: Q6_K with the 4- and 5-bit types, where its blocks fit, otherwise TYPE)
  --format FORMAT    gguf, or folder for Hugging Face's layout (gguf)
  --seed N (0)
  --layers N, --hidden N, --inner N, --heads N, --kv-heads N, --head-width N, --vocabulary N, --positions N
                     in place of the preset's`;

const { values } = parseArgs({
  options: {
    preset: { type: "string" },
    type: { type: "string" },
    head: { type: "string" },
    format: { type: "string", default: "gguf" },
    out: { type: "string" },
    seed: { type: "string", default: "0" },
    help: { type: "boolean" },
    layers: { type: "string" },
    hidden: { type: "string" },
    inner: { type: "string" },
    heads: { type: "string" },
    "kv-heads": { type: "string" },
    vocabulary: { type: "string" },
    "head-width": { type: "string" },
    positions: { type: "string" },
  },
});

const fail = (message: string): never => {
  throw new MosError("bad_option", message);
};

/** A size that was given, under its name in a config. */
function sizeAt(option: keyof typeof values, name: keyof OtherSizes): OtherSizes {
  const value = values[option];
  if (value === undefined) return {};
  const count = Number(value);
  return Number.isInteger(count) && count > 0
    ? { [name]: count }
    : fail(`--${option} ${value}: give a whole number above 0`);
}

function typeAt(name: "type" | "head", fallback: StoredType): StoredType {
  const value = values[name] ?? fallback;
  return Object.hasOwn(blockFormats, value)
    ? (value as StoredType)
    : fail(`--${name} ${value}: known are ${TYPES.join(", ")}`);
}

/** The preset, with the sizes that were given instead, and the special tokens of the tokenizer that is written. */
function buildConfig(preset: string): ModelConfig {
  const sizes = {
    ...sizeAt("layers", "layers"),
    ...sizeAt("hidden", "hiddenSize"),
    ...sizeAt("inner", "intermediateSize"),
    ...sizeAt("heads", "heads"),
    ...sizeAt("kv-heads", "keyValueHeads"),
    ...sizeAt("head-width", "headDim"),
    ...sizeAt("vocabulary", "vocabularySize"),
    ...sizeAt("positions", "maxPositions"),
  };
  const { start, end } = SPECIAL;
  const tokens = { bosToken: start, eosTokens: [end], padToken: start };
  return checkConfig({ ...resizedConfig(presetConfig(preset), sizes), ...tokens }, preset);
}

/** What llama.cpp's quantiser makes of the matrix of the logits. */
const headTypeFor = (type: StoredType, { hiddenSize }: ModelConfig): StoredType =>
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
  const config = buildConfig(values.preset);
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
