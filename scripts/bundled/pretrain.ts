// Pretrains the bundled model from a seed: the text of this folder, all weights, this project's own engine.
// usage: npm run bundled -- [--tokens 7000000] [--out assets/tiny-english] [--seed 0]
import { join } from "node:path";
import { parseArgs } from "node:util";
import { countElements, randomStream } from "mixture-of-shards-core/common";
import type { EncodedExample } from "mixture-of-shards-core/data";
import { readJson, writeSafetensors } from "mixture-of-shards-core/files";
import { floatWeight, parseHuggingFaceConfig, weightShapes } from "mixture-of-shards-core/models";
import { loadTextFromFolder } from "mixture-of-shards-core/text";
import {
  initialState,
  type Parameter,
  type TrainSettings,
  train,
  wholeModel,
} from "mixture-of-shards-core/training";
import { z } from "zod";
import { pretrainingDocuments } from "./documents.ts";

const { values } = parseArgs({
  options: {
    tokens: { type: "string", default: "7000000" },
    out: { type: "string", default: "assets/tiny-english" },
    seed: { type: "string", default: "0" },
    rows: { type: "string", default: "8" },
    rate: { type: "string", default: "4e-3" },
  },
});
const seed = Number(values.seed);
const LENGTH = 256;
const where = join(values.out, "config.json");
const config = parseHuggingFaceConfig(await readJson(where, z.unknown(), { code: "bad_model" }), where);
const { tokenizer } = await loadTextFromFolder(values.out);
const encode = (text: string) => tokenizer.encode(text, { addSpecialTokens: false });

/** Normal with standard deviation 0.02, and less for what adds to the residual stream; gains are 1. */
function initialWeights(): ReadonlyMap<string, Parameter> {
  const depth = 1 / Math.sqrt(2 * config.layers);
  return new Map(
    [...weightShapes(config)].map(([name, shape]) => {
      const random = randomStream(seed, `pretraining.${name}`);
      const deviation = /o_proj|down_proj/.test(name) ? 0.02 * depth : 0.02;
      const length = countElements(shape);
      const data = Float32Array.from({ length }, () =>
        name.includes("norm") ? 1 : deviation * random.normal(),
      );
      return [name, { shape, data }];
    }),
  );
}

/** Every token of a document but its first is predicted; documents share rows and do not see each other. */
const readExamples = (stream: "train" | "heldout", tokens: number): readonly EncodedExample[] =>
  [...pretrainingDocuments({ seed, tokens, encode, stream })].map((document, line) => {
    const ids = Int32Array.from(document.slice(0, LENGTH));
    return {
      line,
      ids,
      labels: ids,
      targetTokens: ids.length - 1,
      truncated: ids.length < document.length,
      truncatedTargets: 0,
    };
  });

const weights = initialWeights();
const examples = readExamples("train", Number(values.tokens));
const batchSize = Number(values.rows);
const steps = Math.floor(examples.reduce((sum, { ids }) => sum + ids.length, 0) / (batchSize * LENGTH));
console.error(`${examples.length} documents, ${steps} steps of ${batchSize * LENGTH} tokens`);
const settings: TrainSettings = {
  steps,
  learningRate: Number(values.rate),
  schedule: "cosine",
  warmup: 50,
  beta1: 0.9,
  beta2: 0.95,
  weightDecay: 0.01,
  maxGradientNorm: 1,
  gradientAccumulationSteps: 1,
  batchSize,
  maxLength: LENGTH,
  packing: true,
  dropout: 0,
  seed,
  padToken: config.padToken ?? 0,
  evaluateEvery: Math.ceil(steps / 10),
  saveEvery: 0,
};
const model = wholeModel({
  config,
  weights: new Map([...weights].map(([name, { shape, data }]) => [name, floatWeight(shape, data)])),
});
const started = performance.now();
for await (const event of train({
  model,
  settings,
  train: examples,
  validation: readExamples("heldout", 60_000),
  state: initialState(model.parameters),
  now: () => performance.now(),
})) {
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  if (event.type === "step" && event.step % 50 === 0)
    console.error(
      `step ${event.step}/${steps} loss ${event.loss.toFixed(3)} ${(event.tokens / event.seconds).toFixed(0)} tokens/s ${seconds} s`,
    );
  if (event.type === "evaluation")
    console.error(`step ${event.step} validation loss ${event.loss.toFixed(4)} ${seconds} s`);
}
const tensors = [...weights].map(
  ([name, { shape, data }]) => [name, { dtype: "F16" as const, shape, data }] as const,
);
await writeSafetensors(join(values.out, "model.safetensors"), Object.fromEntries(tensors), { format: "pt" });
