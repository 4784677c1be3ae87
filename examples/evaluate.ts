// The bundled model on three hand-made questions. With openEngine({ adapters }) each adapter can be a subject, too.
import { loadModel } from "mixture-of-shards";
import { createProgramChecker, evaluate, resultTable, scorers } from "mixture-of-shards/evaluation";
import { openEngine } from "mixture-of-shards/inference";

const { text, model } = await loadModel("assets/tiny-english");
await using engine = await openEngine({ model: "assets/tiny-english" });

for await (const event of evaluate({
  engine,
  text,
  model: { name: model.name, fingerprint: engine.model.fingerprint, quantize: "none" },
  subjects: [{ name: "base", adapter: null }],
  tasks: ["gsm8k"],
  rules: "open-instruct",
  format: "tulu",
  shots: 0,
  seed: 0,
  dataFolder: () => "test/fixtures/benchmarks",
  out: "adapters/example-results.json",
  openChecker: () => createProgramChecker({}),
  concurrency: 16,
  version: "1",
  now: Date.now,
}))
  if (event.type === "end") for (const row of resultTable(event.result)) console.log(row.join("\t"));

// The rules alone mark any text.
const mark = scorers.gsm8k["open-instruct"];
console.log(mark("He has 17 + 1. So the answer is 18.", ["18"]).scores);
