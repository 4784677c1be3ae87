// The bundled model with adapters that were never trained, asked hand-made questions: all of an evaluation in a second.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import {
  type AdapterConfigInput,
  createAdapter,
  type Engine,
  type LoadedText,
  loadText,
  parseAdapterConfig,
  readModelConfig,
  saveAdapter,
  toLayerShapes,
} from "mixture-of-shards";
import { randomStream } from "mixture-of-shards-core/common";
import type { EvaluateOptions } from "mixture-of-shards-lab";

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
  const adapter = createAdapter(parseAdapterConfig(input), shapes);
  for (const [name, { data }] of adapter.tensors) {
    const random = randomStream(1, name);
    if (data instanceof Float32Array) for (let i = 0; i < data.length; i++) data[i] = 0.06 * random.normal();
  }
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

/** `mos` in a process of its own, which can be killed. */
export function start(
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): ChildProcess {
  const main = ["--conditions=source", "--import", "tsx", "packages/mos/src/cli/main.ts"];
  return spawn(process.execPath, [...main, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...environment },
  });
}

/** Waits for the end of a process; `signal` is sent to it after so many answers. */
export async function ended(
  child: ChildProcess,
  stop?: { readonly signal: NodeJS.Signals; readonly after: number },
) {
  const closed = new Promise<readonly [number | null, NodeJS.Signals | null]>((resolve) =>
    child.on("close", (code, signal) => resolve([code, signal])),
  );
  const stderr = text(child.stderr!);
  let answers = 0;
  for await (const line of createInterface(child.stdout!))
    if (line.includes('"type":"progress"') && ++answers === stop?.after) child.kill(stop.signal);
  const [code, signal] = await closed;
  return { code, signal, answers, stderr: await stderr };
}
