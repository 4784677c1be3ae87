// A night in a process of its own, to be killed: <folder> <model>.
import { learn } from "#learning";

/** Small steps and much writing: a kill is likely to come while files are written. */
const [folder = "", model = ""] = process.argv.slice(2);
for await (const event of learn({
  folder,
  model,
  adapter: { method: "lora", rank: 4 },
  settings: { steps: 40, batchSize: 1, maxLength: 64, learningRate: 0.05, saveEvery: 2, warmup: 1 },
  learning: { maxCompletionLength: 3 },
  now: () => 0,
}))
  process.stdout.write(`${event.type}\n`);
