// Whole runs on a tiny model of every family: each method learns, resumes to the same bytes, and is served beside the others.
import { copyFile, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { METHOD_NAMES, type MethodName, methods } from "mixture-of-shards-core/adapters";
import { type BaseModel, loadModel } from "mixture-of-shards-core/models";
import { finetune } from "mixture-of-shards-core/training";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TINY_FAMILIES } from "../../core/test/tiny-families.ts";
import { writeTinyFolder } from "../../core/test/tiny-folder.ts";
import { writeTinyModel } from "../../core/test/tiny-model.ts";
import { serve } from "../src/index.ts";

const SIZES = {
  vocab_size: 1024,
  vocab_size_per_layer_input: 1024,
  max_position_embeddings: 128,
  bos_token_id: 0,
  eos_token_id: 2,
};
const settings = {
  steps: 6,
  batchSize: 2,
  maxLength: 64,
  learningRate: 2e-2,
  evaluateEvery: 6,
  validationSplit: 4,
};
const quiet = { info: () => {}, warn: () => {}, error: () => {} };

let folder: string;
let data: string;
let tokenizerAt: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-families-"));
  ({ data, model: tokenizerAt } = await writeTinyFolder(folder));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe.each(Object.entries(TINY_FAMILIES))("%s", (name, overrides) => {
  let model: BaseModel;
  let at: string;
  beforeAll(async () => {
    at = join(folder, name);
    await writeTinyModel(at, { overrides: { ...overrides, ...SIZES } });
    for (const file of ["tokenizer.json", "tokenizer_config.json"])
      await copyFile(join(tokenizerAt, file), join(at, file));
    model = await loadModel(at);
  });
  const outFolder = (method: string): string => join(folder, `${name}-adapters`, method);

  /** Trains, or goes on with a run that ended at a step; the validation losses. */
  async function train(method: MethodName, out: string, stopAt?: number): Promise<readonly number[]> {
    const controller = new AbortController();
    const losses: number[] = [];
    const { seed: _, ...adapter } = { ...methods[method].example, dropout: 0.1 };
    const files = { model, data, out, resume: stopAt === undefined };
    for await (const event of finetune({
      ...files,
      adapter,
      settings,
      now: () => 0,
      signal: controller.signal,
    })) {
      if (event.type === "evaluation") losses.push(event.loss);
      if (event.type === "step" && event.step === stopAt) controller.abort();
    }
    return losses;
  }

  test.each(METHOD_NAMES)("%s learns", async (method) => {
    const losses = await train(method, outFolder(method), 100);
    expect(losses.at(-1)).toBeLessThan(losses[0]!);
  });

  test("a run that was interrupted ends in the same bytes", async () => {
    const resumed = join(folder, `${name}-resumed`);
    await train("mos", resumed, 3);
    await train("mos", resumed);
    for (const file of ["adapter_config.json", "adapter_model.safetensors", "metrics.jsonl"])
      expect(await readFile(join(resumed, file)), file).toEqual(await readFile(join(outFolder("mos"), file)));
  });

  test("all of them are served side by side with the answers that each gives alone", async () => {
    const options = {
      model: at,
      adapters: join(folder, `${name}-adapters`),
      port: 0,
      log: quiet,
      threads: 1,
    };
    await using server = await serve(options);
    const ask = async (asked: string): Promise<string> => {
      const request = {
        model: asked,
        prompt: "Do you have a white cat? She lives there and the",
        temperature: 0,
        max_tokens: 20,
        ignore_eos: true,
      };
      const answer = await fetch(`${server.address}/v1/completions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(request),
      });
      const body = (await answer.json()) as { readonly choices: readonly { readonly text: string }[] };
      expect(answer.status, JSON.stringify(body)).toBe(200);
      return body.choices[0]!.text;
    };
    const names = [name, ...METHOD_NAMES];
    const alone: string[] = [];
    for (const one of names) alone.push(await ask(one));
    expect(await Promise.all(names.map(ask))).toEqual(alone);
    expect(new Set(alone).size).toBeGreaterThan(5);
    await server.stop();
  });
});
