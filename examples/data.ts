// Trains on examples that a program makes, after a look at what the run will be.
import { rm } from "node:fs/promises";
import { type ExampleInput, finetune, loadModel, previewRun } from "mixture-of-shards";

/** Sums, made as they are asked for. */
function* examples(): Generator<ExampleInput> {
  for (let a = 1; a <= 6; a++)
    for (let b = 1; b <= 7; b++)
      yield {
        messages: [
          { role: "user", content: `How much is ${a} and ${b}?` },
          { role: "assistant", content: `${a} and ${b} is ${a + b}.` },
        ],
      };
}

const out = "adapters/sums";
await rm(out, { recursive: true, force: true });
const run = {
  model: await loadModel("assets/tiny-english"),
  adapter: { method: "mos", rank: 6, equivalentRank: 2 },
  settings: { steps: 12, maxLength: 128, validationSplit: 6 },
} as const;

const preview = await previewRun({ ...run, data: examples() });
console.log(
  `${preview.train.examples} examples, ${preview.steps} updates, ${preview.train.targetTokens} tokens trained`,
);

for await (const event of finetune({ ...run, data: examples(), out, tensorboard: true }))
  if (event.type === "evaluation")
    console.log(`step ${event.step}: validation loss ${event.loss.toFixed(3)}`);
