// Rounds in which clients train on examples of their own and a server averages: the mean knows what no client alone knows.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { averageAdapters } from "#convert";
import { type BaseModel, loadModel } from "#models";
import { type FinetuneOptions, finetune } from "#training";

const ROUNDS = 3;
const STEPS = 8;

/** Three clients, whose examples have nothing in common. */
const CLIENTS = [
  { about: "boat", answers: ["red", "old", "far", "slow"] },
  { about: "mill", answers: ["white", "tall", "near", "loud"] },
  { about: "horse", answers: ["black", "young", "here", "quick"] },
].map(({ about, answers }) =>
  ["What colour is", "How old is", "Where is", "How is"].map((question, i) => ({
    prompt: `${question} the ${about}?`,
    completion: `The ${about} is ${answers[i]}.`,
  })),
);

let folder: string;
let model: BaseModel;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-federated-"));
  model = await loadModel("assets/tiny-english");
});
afterAll(() => rm(folder, { recursive: true, force: true }));

type Run = Pick<FinetuneOptions, "data" | "adapter"> & { readonly out: string; readonly steps: number };

/** Trains, and returns the loss on everybody's examples before and after. */
async function train({ out, steps, ...run }: Run): Promise<readonly number[]> {
  const settings = { steps, batchSize: 4, maxLength: 64, learningRate: 5e-3, warmup: 0, evaluateEvery: 0 };
  const losses: number[] = [];
  const events = finetune({ ...run, model, out, settings, validationData: CLIENTS.flat() });
  for await (const event of events) if (event.type === "evaluation") losses.push(event.loss);
  return losses;
}

const adapter = { method: "mos", rank: 6, equivalentRank: 2, shardsPerVector: 4 } as const;

test("the mean of three clients is better on everything than each that trains alone as long", async () => {
  let start: FinetuneOptions["adapter"] = adapter;
  const means: number[] = [];
  for (let round = 1; round <= ROUNDS; round++) {
    const clients = CLIENTS.map((_, i) => join(folder, `round-${round}`, String(i)));
    for (const [i, out] of clients.entries()) {
      const [before = Number.NaN] = await train({ data: CLIENTS[i]!, adapter: start, out, steps: STEPS });
      if (i === 0) means.push(before);
    }
    const out = join(folder, `mean-${round}`);
    await averageAdapters({ adapters: clients, out });
    start = { from: out };
  }
  const last = { data: CLIENTS[0]!, adapter: start, out: join(folder, "last"), steps: 1 };
  means.push((await train(last))[0] ?? Number.NaN);
  const alone: number[] = [];
  for (const [i, data] of CLIENTS.entries()) {
    const losses = await train({ data, adapter, out: join(folder, `alone-${i}`), steps: ROUNDS * STEPS });
    alone.push(losses.at(-1) ?? Number.NaN);
  }
  expect(
    means.toSorted((a, b) => b - a),
    "falls every round",
  ).toEqual(means);
  expect(means.at(-1)).toBeLessThan(Math.min(...alone));
});
