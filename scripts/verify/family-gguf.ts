// Whether all readers of a family's GGUF write the same greedy tokens: this engine from the file and from the Hugging
// Face folder that it was made from, llama.cpp from the file, and transformers from the folder; the same with LoRAs; and this
// engine and llama.cpp with exported adapters, on all linear layers and on those of one name, and from merged files.
// usage: npm run verify:family-gguf -- FOLDER [FAMILY...] --llama PATH/TO/node_modules [--methods lora,mos]
// FOLDER is what scripts/verify/family_gguf.py wrote; node-llama-cpp@3.21.1 is installed elsewhere, with npm install.
// Exits with 1 where tokens differ, other than where the two largest logits are within 1e-3 (1e-2 in Gemma 4: of GELU
// llama.cpp has a table of halves), or where this engine's gaps between them are off by more.
import { readdir, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { type MethodName, methods, saveAdapter } from "mixture-of-shards-core/adapters";
import { exportAdapter, importAdapter, mergeAdapter } from "mixture-of-shards-core/convert";
import { readJson } from "mixture-of-shards-core/files";
import {
  type LinearName,
  listTargets,
  loadBase,
  readModelConfig,
  toBaseShapes,
  toLayerShapes,
} from "mixture-of-shards-core/models";
import { z } from "zod";
import {
  type Continuation,
  continuePrompts,
  departure,
  gapError,
} from "../../packages/core/test/greedy-cases.ts";
import { randomAdapter } from "../../packages/core/test/random-adapter.ts";
import { continuations, openLlama } from "./llama.ts";

const continued = z.object({ tokens: z.array(z.int()), gaps: z.array(z.number()) });
const casesSchema = z.array(continued.extend({ prompt: z.array(z.int()), lora: continued }));
type Cases = z.infer<typeof casesSchema>;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { llama: { type: "string" }, methods: { type: "string", default: "lora,mos" } },
});
const [folder = "", ...named] = positionals;
const modules = values.llama ?? "";
if (folder === "" || modules === "")
  throw new Error("usage: family-gguf.ts FOLDER [FAMILY...] --llama PATH/TO/node_modules");

const llamaCpp = await openLlama(modules);
/** What one reader should write and what it wrote; `gaps` are left out where the reader does not tell. */
interface Answers {
  readonly expected: readonly Continuation[];
  readonly found: readonly (Omit<Continuation, "gaps"> & Partial<Continuation>)[];
}

/** Where llama.cpp's logits are off by more than float32's rounding. */
const ROUNDED: Readonly<Record<string, number>> = { gemma4: 1e-2, "gemma4-wide": 1e-2 };

function verdict(
  { expected, found }: Answers,
  tie?: number,
): { readonly passed: boolean; readonly text: string } {
  const departures = expected.map((one, i) => departure(one, found[i]?.tokens ?? [], tie));
  const errors = expected.map((one, i) => {
    const { tokens, gaps } = found[i] ?? { tokens: [] };
    return gaps === undefined ? 0 : gapError(one, { tokens, gaps });
  });
  const apart = departures.filter((at) => at !== undefined);
  const error = Math.max(...errors);
  const same = `${expected.length - apart.length} of ${expected.length} the same`;
  const where = apart.length === 0 ? "" : `, apart from token ${apart.join(", ")} on`;
  const gaps = found.some((one) => one.gaps) ? `, gaps within ${error.toExponential(1)}` : "";
  return { passed: apart.length === 0 && error < 1e-3, text: `${same}${where}${gaps}` };
}

/** The adapters of a family, in folders beside its file. */
function adapters(base: string) {
  const file = `${base}.gguf`;
  const adapterFolder = (name: string): string => join(`${base}.adapters`, name);
  /** The folder that an import makes of PEFT's, or of llama.cpp's file of the same numbers. */
  const imported = async (from: "peft" | "gguf"): Promise<string> => {
    const out = adapterFolder(from);
    // PEFT's names are the folder's: a Granite 4 is a Granite 3 in the file
    const [source, model] = from === "peft" ? [`${base}.lora`, base] : [`${base}.lora.gguf`, file];
    await importAdapter({ folder: source, from, model, out, overwrite: true });
    return out;
  };
  /** A random adapter of ours. */
  const random = async (method: MethodName, targets?: readonly LinearName[]): Promise<string> => {
    const adapter = adapterFolder(`${method}-${targets?.join("-") ?? "default"}`);
    const loaded = await loadBase(file);
    const settings = { ...methods[method].example, ...(targets ? { targets } : {}) };
    const numbers = { seed: 7, deviation: 0.2, only: "zeros" } as const;
    const { fingerprint } = loaded;
    await saveAdapter(adapter, randomAdapter(settings, toBaseShapes(loaded), numbers), {
      base: { name: "base", fingerprint },
    });
    return adapter;
  };
  return { imported, random };
}

/** Each comparison of one family by its name. */
async function comparisons(
  family: string,
  cases: Cases,
): Promise<ReadonlyMap<string, () => Promise<Answers>>> {
  const base = join(folder, family);
  const file = `${base}.gguf`;
  const targets = listTargets(toLayerShapes(await readModelConfig(file)));
  const linears = [...new Set(targets.map(({ linear }) => linear))];
  const prompts = cases.map(({ prompt }) => prompt);
  const tokens = cases[0]?.tokens.length ?? 0;
  const loras = cases.map(({ lora }) => lora);
  const llama = async (path: string, lora?: string): Promise<Answers["found"]> => {
    const model = await llamaCpp.loadModel({ modelPath: path });
    const found = await continuations(model, prompts, { tokens, lora, stops: false });
    await model.dispose();
    return found.map((one) => ({ tokens: one }));
  };
  const engine = (model: string, adapter?: string) => continuePrompts(model, prompts, { tokens, adapter });
  const { imported, random } = adapters(base);
  const exported = async (adapter: string): Promise<Answers> => {
    const lora = `${adapter}.gguf`;
    await exportAdapter({ adapter, model: file, format: "gguf", out: lora, overwrite: true });
    return { expected: await engine(file, adapter), found: await llama(file, lora) };
  };
  const merged = async (adapter: string): Promise<Answers> => {
    const out = `${adapter}-merged.gguf`;
    await rm(out, { force: true });
    for await (const _ of mergeAdapter({ model: file, adapter, out, dtype: "float32" })); // events are for terminals
    return { expected: await engine(file, adapter), found: await llama(out) };
  };
  return new Map<string, () => Promise<Answers>>([
    ["llama.cpp", async () => ({ expected: cases, found: await llama(file) })],
    ["this engine, file", async () => ({ expected: cases, found: await engine(file) })],
    ["this engine, folder", async () => ({ expected: cases, found: await engine(base) })],
    [
      "llama.cpp, PEFT's LoRA",
      async () => ({ expected: loras, found: await llama(file, `${base}.lora.gguf`) }),
    ],
    [
      "this engine, PEFT's LoRA",
      async () => ({ expected: loras, found: await engine(file, await imported("peft")) }),
    ],
    [
      "this engine, llama.cpp's LoRA",
      async () => ({ expected: loras, found: await engine(file, await imported("gguf")) }),
    ],
    ...values.methods
      .split(",")
      .map(
        (name) =>
          [`llama.cpp, exported ${name}`, async () => exported(await random(name as MethodName))] as const,
      ),
    ["llama.cpp, exported on all", async () => exported(await random("lora", linears))],
    ["llama.cpp, merged", async () => merged(await random("lora", linears))],
    ...linears.map(
      (linear) => [`llama.cpp, on ${linear}`, async () => exported(await random("lora", [linear]))] as const,
    ),
  ]);
}

const files = (await readdir(folder)).filter((file) => file.endsWith(".json")).sort();
let failures = 0;
for (const family of named.length > 0 ? named : files.map((file) => basename(file, ".json"))) {
  const cases = await readJson(join(folder, `${family}.json`), casesSchema, { code: "bad_data" });
  for (const [name, compare] of await comparisons(family, cases)) {
    const tie = name.startsWith("llama.cpp") ? ROUNDED[family] : undefined;
    const { passed, text } = await compare().then(
      (answers) => verdict(answers, tie),
      (error: unknown) => ({ passed: false, text: String(error) }), // a reader that fails does not hide the others
    );
    console.log(`${passed ? "pass" : "FAIL"}  ${family.padEnd(12)} ${name.padEnd(24)} ${text}`);
    if (!passed) failures++;
  }
}
console.log(failures === 0 ? "all agree" : `${failures} do not agree`);
process.exit(failures === 0 ? 0 : 1);
