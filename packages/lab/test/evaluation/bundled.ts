// The bundled model with adapters that were never trained, asked hand-made questions: all of an evaluation in a second.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  type AdapterConfigInput,
  type Engine,
  type LoadedText,
  loadText,
  readModelConfig,
  saveAdapter,
  toLayerShapes,
} from "mixture-of-shards";
import type { EvaluateOptions } from "mixture-of-shards-lab";
import { randomAdapter } from "../../../../test/random-adapter.ts";

export const MODEL = "assets/tiny-english";
export const DATA = "test/fixtures/benchmarks";
export const FINGERPRINT = "sha256:13e568bbb49810c9c2ba7599bfc863b2ee8d5b48b79a9adbeef0fd40ff63ffc6";

export async function readBundled() {
  return { text: await loadText(MODEL), shapes: toLayerShapes(await readModelConfig(MODEL)) };
}

/** Saves an adapter of the bundled model whose numbers are far from zero. */
export async function writeAdapter(
  folder: string,
  {
    fingerprint = FINGERPRINT,
    tokens,
    ...config
  }: Partial<AdapterConfigInput> & { readonly fingerprint?: string; readonly tokens?: string } = {},
): Promise<string> {
  const { shapes } = await readBundled();
  const input = { method: "lora", rank: 2, seed: 1, ...config };
  const adapter = randomAdapter(input, shapes, { seed: 1, deviation: 0.06 });
  await saveAdapter(folder, adapter, { base: { name: "tiny-english", fingerprint, tokens } });
  return folder;
}

/** More questions than the fixtures have: sums that the prompt's room suffices for. */
export async function writeSums(folder: string, count: number): Promise<string> {
  await mkdir(join(folder, "gsm8k"), { recursive: true });
  const rows = Array.from({ length: count }, (_, i) => ({
    question: `Tom has ${i + 1} apples. How many?`,
    answer: `#### ${i + 1}`,
  }));
  await writeFile(join(folder, "gsm8k", "test.jsonl"), rows.map((row) => JSON.stringify(row)).join("\n"));
  return folder;
}

export const makeOptions = (
  { engine, text, out }: { readonly engine: Engine; readonly text: LoadedText; readonly out: string },
  more: Partial<EvaluateOptions> = {},
): EvaluateOptions => ({
  engine,
  text,
  out,
  rules: "open-instruct",
  format: "none",
  shots: 0,
  seed: 0,
  model: {
    name: "tiny-english",
    fingerprint: engine.model.fingerprint,
    baseDtype: "stored",
    computeDtype: "float32",
  },
  subjects: [{ name: "base", adapter: null }],
  tasks: ["gsm8k"],
  dataFolder: () => DATA,
  openChecker: () => Promise.reject(new Error("no checker is needed")),
  concurrency: 8,
  version: "1",
  now: () => 0,
  ...more,
});

/** A result without what a run's speed and moment decide. */
export function timeless(result: { readonly scores: readonly object[] }): object {
  const scores = result.scores.map((score) => ({ ...score, seconds: 0, asked: 0, answerTokens: 0 }));
  return { ...result, date: "", command: "", scores };
}
