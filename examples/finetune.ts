// Teaches the bundled model one tenant's facts with Mixture of Shards, and asks it one of them.
import { rm } from "node:fs/promises";
import { finetune, generate, loadModel, textStream } from "mixture-of-shards";

const base = await loadModel("assets/tiny-english");
const out = "adapters/example";
await rm(out, { recursive: true, force: true });

for await (const event of finetune({
  model: base,
  data: "assets/quickstart/train.jsonl",
  validationData: "assets/quickstart/validation.jsonl",
  out,
  adapter: { method: "mos", rank: 6, equivalentRank: 2, privateRank: 1, shardsPerVector: 4 },
  settings: { steps: 200, batchSize: 4, maxLength: 128, learningRate: 1e-2 },
})) {
  if (event.type === "step" && event.step % 50 === 0) console.log(event.step, event.loss);
  if (event.type === "evaluation") console.log("validation loss", event.loss);
}

const question = { role: "user", content: "Who is the keeper of the lighthouse?" };
for await (const text of textStream(generate(base, [question], { adapter: out }))) process.stdout.write(text);
console.log();
