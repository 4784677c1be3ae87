import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { capacityFor, createModelRunner, prepareWeights } from "../src/inference/index.ts";
import { argmax } from "../src/inference/sampler.ts";
import { loadModel } from "../src/recipes/index.ts";

const path = process.env["MOS_TEST_MODEL"];
interface Case {
  readonly prompt: string;
  readonly ids: number[];
  readonly tokens: number[];
  readonly gaps: number[];
}
const expected = JSON.parse(readFileSync("test/fixtures/smollm2-greedy.json", "utf8")) as {
  cases: Case[];
  logits: number[];
};

describe.skipIf(path === undefined)("SmolLM2-135M from GGUF (skipped without MOS_TEST_MODEL)", () => {
  test("continues greedily as transformers does, or differs only where two logits are within 1e-3", {
    timeout: 300_000,
  }, async () => {
    const { model, text } = await loadModel(path!);
    const base = await prepareWeights(model.config, model.weights);
    await using runner = await createModelRunner(base, { maxLength: 256, adapters: false });
    runner.cache.resize(1, capacityFor(256));
    const logitsOf = async (tokens: readonly number[]): Promise<Float32Array> =>
      (await runner.run({ from: 0, count: 1, tokens: [tokens] }))[0]![0]!;
    for (const { prompt, ids, tokens, gaps } of expected.cases) {
      expect(text.tokenizer.encode(prompt)).toEqual(ids);
      runner.cache.truncate(0, 0);
      let logits = await logitsOf(ids);
      if (prompt === expected.cases[0]!.prompt)
        expected.logits.forEach((z, i) => {
          expect(Math.abs(logits[i]! - z)).toBeLessThan(2e-3);
        });
      for (const [i, token] of tokens.entries()) {
        const found = argmax(logits);
        if (found !== token) {
          expect(gaps[i], `${prompt}: token ${i} is ${found}, transformers has ${token}`).toBeLessThan(1e-3);
          break;
        }
        logits = await logitsOf([token]);
      }
    }
  });
});
