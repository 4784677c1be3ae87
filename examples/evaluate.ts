// The bundled model on three hand-made questions. With `adapters` each of them is scored beside the base.

import { benchmarks, evaluateModel, resultTable } from "mixture-of-shards-lab";

for await (const event of evaluateModel({
  model: "assets/tiny-english",
  tasks: ["gsm8k"],
  shots: 0,
  data: "test/fixtures/benchmarks",
  out: "adapters/example-results.json",
  version: "1",
  now: Date.now,
}))
  if (event.type === "finish") for (const row of resultTable(event.result)) console.log(row.join("\t"));

// The rules alone score any text.
const score = benchmarks.gsm8k.scorers["open-instruct"];
console.log(score("He has 17 + 1. So the answer is 18.", ["18"]).scores);
