// Whether all readers of a family's GGUF write the same greedy tokens: this engine from the file and from the Hugging
// Face folder that it was made from, llama.cpp from the file, and transformers from the folder; and the same with LoRAs.
// usage: npm run verify:family-gguf -- FOLDER [FAMILY...] --llama PATH/TO/node_modules [--methods lora,mos]
// FOLDER is what scripts/verify/family_gguf.py wrote; node-llama-cpp@3.21.1 is installed elsewhere, with npm install.
// Exits with 1 where tokens differ, other than where the two largest logits are within 1e-3, or where this engine's gaps
// between them are off by more.
import { execFileSync } from "node:child_process";
import { readdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { readJson } from "mixture-of-shards-core/files";
import { z } from "zod";
import {
  type Continuation,
  continuePrompts,
  departure,
  gapError,
} from "../../packages/core/test/greedy-cases.ts";
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
const ENGINE = ["--conditions=source", "--import", "tsx"];
const run = (file: string, ...args: readonly string[]): string =>
  execFileSync(process.execPath, [...ENGINE, file, ...args], { encoding: "utf8", stdio: "pipe" });

/** What one reader should write and what it wrote; `gaps` are left out where the reader does not tell. */
interface Answers {
  readonly expected: readonly Continuation[];
  readonly found: readonly (Omit<Continuation, "gaps"> & Partial<Continuation>)[];
}

function verdict({ expected, found }: Answers): { readonly passed: boolean; readonly text: string } {
  const departures = expected.map((one, i) => departure(one, found[i]?.tokens ?? []));
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

/** Each comparison of one family by its name. */
function comparisons(family: string, cases: Cases): ReadonlyMap<string, () => Promise<Answers>> {
  const base = join(folder, family);
  const file = `${base}.gguf`;
  const prompts = cases.map(({ prompt }) => prompt);
  const tokens = cases[0]?.tokens.length ?? 0;
  const loras = cases.map(({ lora }) => lora);
  const llama = async (lora?: string): Promise<Answers["found"]> => {
    const model = await llamaCpp.loadModel({ modelPath: file });
    const found = await continuations(model, prompts, { tokens, lora, stops: false });
    await model.dispose();
    return found.map((one) => ({ tokens: one }));
  };
  const engine = (model: string, adapter?: string) => continuePrompts(model, prompts, { tokens, adapter });
  /** The folder that mos import makes of PEFT's. */
  const imported = (): string => {
    const adapter = join(`${base}.adapters`, "peft");
    run(
      "packages/mos/src/cli/main.ts",
      "import",
      `${base}.lora`,
      "--model",
      file,
      "--out",
      adapter,
      "--overwrite",
    );
    return adapter;
  };
  /** A random adapter of ours, and the file that mos export makes of it. */
  const exported = async (method: string): Promise<Answers> => {
    const adapter = join(`${base}.adapters`, method);
    run("scripts/verify/random-adapters.ts", file, `${base}.adapters`, "0.2", method);
    const options = ["--model", file, "--format", "gguf", "--out", `${adapter}.gguf`, "--overwrite"];
    run("packages/mos/src/cli/main.ts", "export", adapter, ...options);
    return { expected: await engine(file, adapter), found: await llama(`${adapter}.gguf`) };
  };
  return new Map<string, () => Promise<Answers>>([
    ["llama.cpp", async () => ({ expected: cases, found: await llama() })],
    ["this engine, file", async () => ({ expected: cases, found: await engine(file) })],
    ["this engine, folder", async () => ({ expected: cases, found: await engine(base) })],
    ["llama.cpp, PEFT's LoRA", async () => ({ expected: loras, found: await llama(`${base}.lora.gguf`) })],
    ["this engine, PEFT's LoRA", async () => ({ expected: loras, found: await engine(file, imported()) })],
    ...values.methods
      .split(",")
      .map((method) => [`llama.cpp, exported ${method}`, () => exported(method)] as const),
  ]);
}

/** Of a program that failed, the line that says why. */
const reason = (error: unknown): string => {
  const told = error instanceof Error && "stderr" in error ? String(error.stderr) : String(error);
  return told.split("\n").find((line) => /^\w*(Error|mos)\b.*:/.test(line)) ?? told;
};

const files = (await readdir(folder)).filter((file) => file.endsWith(".json")).sort();
let failures = 0;
for (const family of named.length > 0 ? named : files.map((file) => basename(file, ".json"))) {
  const cases = await readJson(join(folder, `${family}.json`), casesSchema, { code: "bad_data" });
  for (const [name, compare] of comparisons(family, cases)) {
    const { passed, text } = await compare().then(verdict, (error: unknown) => ({
      passed: false,
      text: reason(error), // a reader that fails does not hide the others
    }));
    console.log(`${passed ? "pass" : "FAIL"}  ${family.padEnd(12)} ${name.padEnd(24)} ${text}`);
    if (!passed) failures++;
  }
}
console.log(failures === 0 ? "all agree" : `${failures} do not agree`);
process.exit(failures === 0 ? 0 : 1);
