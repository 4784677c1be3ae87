// What a whole run promises, for every method of the table: it learns, stops and resumes to the same bytes, and the
// LoRA that it expands to answers as it does.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Adapter, loadAdapter, METHOD_NAMES, methods } from "#adapters";
import { toLora } from "#convert";
import { generate } from "#inference";
import { type BaseModel, loadModel, toBaseShapes } from "#models";
import { type FinetuneEvent, finetune } from "#training";
import { collectAnswer } from "./inference/tiny-engine.ts";
import { writeTinyFolder } from "./tiny-folder.ts";

let folder: string;
let base: BaseModel;
let data: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-methods-"));
  const tiny = await writeTinyFolder(folder);
  data = tiny.data;
  base = await loadModel(tiny.model);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const settings = {
  steps: 6,
  batchSize: 1,
  maxLength: 64,
  learningRate: 3e-2,
  evaluateEvery: 6,
  validationSplit: 4,
};

async function answer(adapter: Adapter): Promise<readonly number[]> {
  const prompt = [{ role: "user", content: "Do you have a cat?" }];
  return (await collectAnswer(generate(base, prompt, { adapter, maxTokens: 12 }))).ids;
}

/** Runs are resumed alike for all methods; these differ in what is trained. */
const RESUMED: ReadonlySet<string> = new Set(["mos", "vera"]);

describe.each(METHOD_NAMES)("%s", (method) => {
  const { seed: _, ...adapter } = { ...methods[method].example, dropout: 0.1 };

  async function run(out: string, stopAt?: number): Promise<readonly FinetuneEvent[]> {
    const controller = new AbortController();
    const events: FinetuneEvent[] = [];
    const resume = stopAt === undefined && out.endsWith("resumed");
    const { signal } = controller;
    for await (const event of finetune({
      model: base,
      data,
      out,
      adapter,
      settings,
      now: () => 0,
      resume,
      signal,
    })) {
      events.push(event);
      if (event.type === "step" && event.step === stopAt) controller.abort();
    }
    return events;
  }

  const tags = RESUMED.has(method) ? [] : ["thorough"];
  test("learns, resumes to the same bytes, and answers as the LoRA that it is", { tags }, async () => {
    const [whole, resumed] = [join(folder, method, "whole"), join(folder, method, "resumed")];
    const losses = (await run(whole)).filter((event) => event.type === "evaluation").map(({ loss }) => loss);
    expect(losses.at(-1)).toBeLessThan(losses[0]!);
    await run(resumed, 3);
    await run(resumed);
    for (const name of ["adapter_config.json", "adapter_model.safetensors", "metrics.jsonl"])
      expect(await readFile(join(resumed, name)), name).toEqual(await readFile(join(whole, name)));
    const loaded = await loadAdapter(whole, {
      shapes: toBaseShapes(base.model),
      fingerprint: base.model.fingerprint,
    });
    expect(await answer((await toLora(loaded)).adapter)).toEqual(await answer(loaded));
  });
});
