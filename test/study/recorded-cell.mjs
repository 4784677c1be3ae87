// A cell that only pretends to train, and leaves the record that a real one leaves.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

process.on("message", async (order) => {
  if (order.type !== "run") return;
  const { folder, ...spec } = order.spec;
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "cell.json"), JSON.stringify({ ...spec, folder }));
  const { identity, key, purpose, learningRate, seed } = spec;
  const result = {
    ...{ format: 1, identity, key, purpose, learningRate, seed, trainable: 10 },
    ...{ losses: [3, 2], heldOutLoss: 2.5 + seed / 25, heldOutExamples: 4, tokens: 100 },
    ...{ answers: { correct: 1, total: 4 }, peakMemoryBytes: 2e9, jobs: 1, threads: 2 },
    seconds: { total: Math.random(), load: 0.1, training: 1, step: 0.5, evaluation: 0.1, answers: 0 },
  };
  await writeFile(join(folder, "result.json"), JSON.stringify(result));
  process.send({ type: "finished" });
  process.disconnect();
});
