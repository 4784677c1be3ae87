// The other side of mos export --format gguf: llama.cpp, through node-llama-cpp, has to write the same greedy tokens with
// the exported adapter on the same base. The base must be float32 or float16, as llama.cpp rounds activations otherwise.
// usage (from this repository; node-llama-cpp@3.21.1 is installed elsewhere, with npm install):
//   node --import tsx scripts/verify/llama_cpp.mjs BASE.gguf FOLDER --llama PATH/TO/node_modules [--deviation 0.05] [--tokens 40]
// Adapters with random numbers are made in FOLDER, and exported to it; with --adapter FOLDER (any number of them), those.
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { continuations, openLlama } from "./llama.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    llama: { type: "string" },
    deviation: { type: "string", default: "0.05" },
    tokens: { type: "string", default: "40" },
    adapter: { type: "string", multiple: true },
    methods: {
      type: "string",
      default:
        "lora,mos,pure-sharing,random-scaling,subset-selection,vera,tied-lora,prolora,lora-xs,uni-lora",
    },
  },
});
const [base, folder] = positionals;
if (base === undefined || folder === undefined || values.llama === undefined)
  throw new Error("usage: llama_cpp.mjs BASE.gguf FOLDER --llama PATH/TO/node_modules");

const PROMPTS = [
  "The capital of France is",
  "Once upon a time, in a small village by the sea,",
  "def fibonacci(n):\n    ",
  "Water boils at 100 degrees because",
  "<|im_start|>user\nWhat is 12 times 7?<|im_end|>\n<|im_start|>assistant\n",
  "Dear Sir or Madam,\n\nI am writing to",
  "The mitochondria is the powerhouse of the cell. In more detail,",
  "1, 1, 2, 3, 5, 8,",
];
const ENGINE = ["--conditions=source", "--import", "tsx"];
const run = (file, ...args) =>
  execFileSync(process.execPath, [...ENGINE, file, ...args], { encoding: "utf8", maxBuffer: 1 << 26 });

mkdirSync(folder, { recursive: true });
const promptsFile = join(folder, "prompts.json");
writeFileSync(promptsFile, JSON.stringify(PROMPTS));
const llama = await openLlama(values.llama);
const model = await llama.loadModel({ modelPath: base });
const { bos } = model.tokens;

const generate = (adapter) =>
  JSON.parse(run("scripts/verify/greedy-tokens.ts", base, adapter, values.tokens, promptsFile));
/** This engine leaves the end token out of an answer. */
const shared = (ours, theirs) => {
  const length = Math.min(ours.length, theirs.length);
  const differs = ours.findIndex((token, i) => i < length && token !== theirs[i]);
  return differs < 0 ? length : differs;
};
const isSame = (ours, theirs) =>
  shared(ours, theirs) === ours.length && theirs.slice(ours.length).every((token) => model.isEogToken(token));

const random = (method) => {
  run("scripts/verify/random-adapters.ts", base, folder, values.deviation, method);
  return join(folder, method);
};

let failures = 0;
const bare = generate("none");
for (const adapter of ["none", ...(values.adapter ?? values.methods.split(",").map(random))]) {
  const name = basename(adapter);
  const cases = adapter === "none" ? bare : generate(adapter);
  let file;
  if (adapter !== "none") {
    file = resolve(folder, `${name}.gguf`);
    const options = ["--model", base, "--format", "gguf", "--out", file, "--overwrite"];
    run("packages/mos/src/cli/main.ts", "export", adapter, ...options);
  }
  const prompts = cases.map(({ ids }) => ids);
  const theirs = await continuations(model, prompts, { tokens: Number(values.tokens), lora: file });
  const same = cases.filter(({ tokens }, i) => isSame(tokens, theirs[i])).length;
  const moved = cases.filter(({ tokens }, i) => tokens.join() !== bare[i].tokens.join()).length;
  const total = cases.reduce((sum, { tokens }) => sum + tokens.length, 0);
  // node-llama-cpp begins no text with a BOS
  const encoded = cases.filter(
    ({ prompt, ids }) => model.tokenize(prompt, true).join() === ids.slice(ids[0] === bos ? 1 : 0).join(),
  ).length;
  console.log(
    `${name}: ${same} of ${cases.length} prompts give the same ${total} tokens; ${moved} differ from the base's; ${encoded} prompts are the same ids`,
  );
  cases.forEach(({ prompt, tokens, text }, i) => {
    if (i < 2) console.log(`    ${JSON.stringify(prompt)} → ${JSON.stringify(text.slice(0, 90))}`);
    if (!isSame(tokens, theirs[i]))
      console.log(`    differs from token ${shared(tokens, theirs[i])} on: ${JSON.stringify(prompt)}`);
  });
  if (same < cases.length || (adapter !== "none" && moved === 0)) failures++;
}
console.log(failures === 0 ? "all agree" : `${failures} adapters do not agree`);
process.exit(failures === 0 ? 0 : 1);
