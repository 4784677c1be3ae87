// What an adapter costs, before anything is trained: exact numbers from the shapes of the model alone.
import { adapterParams, readModelConfig } from "mixture-of-shards";

const model = await readModelConfig("assets/tiny-english");
for (const adapter of [
  { method: "lora", rank: 6 },
  { method: "mos", rank: 6, equivalentRank: 2 },
] as const) {
  const { budget } = adapterParams(model, adapter);
  console.log(
    `${adapter.method}: ${budget.trainable} numbers, ${budget.bytes.float32} bytes, ratio ${budget.ratio.toFixed(3)}`,
  );
}
