// A real model's greedy continuations beside those of scripts/verify/greedy.py, token by token.
import { readFileSync } from "node:fs";
import { expect } from "vitest";
import { capacityFor, createModelRunner, prepareWeights } from "../src/inference/index.ts";
import { argmax } from "../src/inference/sampler.ts";
import { loadModel } from "../src/models/index.ts";
import { type Continuation, departure } from "./greedy-cases.ts";

interface Case extends Continuation {
  readonly prompt: string;
  readonly ids: readonly number[];
}

interface Goldens {
  readonly cases: readonly Case[];
  /** The first logits that follow the first prompt. */
  readonly logits: readonly number[];
}

/**
 * Expects of the model at `path` transformers' ids, logits and greedy tokens, which may part only where transformers'
 * two largest logits are within 1e-3.
 */
export async function expectGoldens(path: string, goldens: string): Promise<void> {
  const { cases, logits: firstLogits } = JSON.parse(readFileSync(goldens, "utf8")) as Goldens;
  const { model, text } = await loadModel(path);
  const base = await prepareWeights(model.config, model.weights);
  await using runner = await createModelRunner(base, { maxLength: 256, adapters: false });
  runner.cache.resize(1, capacityFor(256));
  const computeLogits = async (tokens: readonly number[]): Promise<Float32Array> =>
    (await runner.run({ from: 0, count: 1, tokens: [tokens] }))[0]![0]!;
  for (const [i, expected] of cases.entries()) {
    const { prompt, ids, tokens } = expected;
    expect(text.tokenizer.encode(prompt)).toEqual(ids);
    runner.cache.truncate(0, 0);
    let logits = await computeLogits(ids);
    if (i === 0)
      for (const [j, logit] of firstLogits.entries())
        expect(Math.abs(logits[j]! - logit), `logit ${j}`).toBeLessThan(2e-3);
    const found: number[] = [];
    for (const token of tokens) {
      found.push(argmax(logits));
      if (found.at(-1) !== token) break; // what follows another token is not comparable
      logits = await computeLogits([token]);
    }
    expect(departure(expected, found), `${prompt}: ${found}, transformers has ${tokens}`).toBeUndefined();
  }
}
