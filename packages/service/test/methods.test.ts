// Jobs by each of OpenAI's methods: what is taken, shown, refused, and planned.
import { OBJECTIVES, PythonGraders } from "mixture-of-shards/cli";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { jobRequestSchema, toTrainingPlan } from "#store";
import { createExtension, openExpired } from "../src/extension.ts";
import { databases, openTables, type TestTables } from "./databases.ts";
import { addTrainingFile } from "./queued-job.ts";
import { makeServer, type TestServer } from "./server.ts";

const LEARNING_RATE = 0.002;

const planned = (asked: object) =>
  toTrainingPlan(jobRequestSchema.parse({ model: "base", training_file: "file-1", ...asked }), {
    seed: 1,
    learningRate: LEARNING_RATE,
  }).settings;

test("hyperparameters of dpo are settings of its objective; mos has the last word", () => {
  const dpo = (hyperparameters: object, mos = {}) =>
    planned({ method: { type: "dpo", dpo: { hyperparameters } }, mos });
  expect(dpo({ beta: 0.5, batch_size: 8, n_epochs: 2, learning_rate_multiplier: 3 })).toMatchObject({
    ...{ objective: "dpo", beta: 0.5, batchSize: 8, epochs: 2 },
  });
  expect(dpo({ beta: "auto" })).not.toHaveProperty("beta");
  expect(dpo({ beta: 0.5 }, { beta: 3, dpo_loss: "ipo", sft_weight: 0 })).toMatchObject({
    ...{ beta: 3, dpoLoss: "ipo", sftWeight: 0 },
  });
  const usual = LEARNING_RATE * OBJECTIVES.dpo.learningRate;
  expect(dpo({ learning_rate_multiplier: 3 }).learningRate).toBeCloseTo(3 * usual, 12);
  expect(planned({ mos: { objective: "dpo" } }).learningRate).toBe(usual);
});

test("other objectives are settings under mos", () => {
  expect(planned({ mos: { objective: "kto", desirable_weight: 2 } })).toMatchObject({
    ...{ objective: "kto", desirableWeight: 2 },
  });
});

describe.each(databases)("%s", (_, open) => {
  let opened: TestTables;
  let server: TestServer;
  let file: string;

  const unused = (): never => {
    throw new Error("not used here");
  };
  beforeAll(async () => {
    opened = await openTables(open);
    const { stores, objects } = opened;
    const extension = createExtension({
      model: { name: "base", shapes: { layers: 1, widths: {} }, hiddenSize: 64, path: "" },
      checkRun: () => undefined,
      publisher: { use: () => undefined, fetch: unused },
      unpublish: unused,
      expired: openExpired(stores.models),
      service: {
        ...{ ...stores, objects, preview: unused, checkFile: unused },
        ...{ pythonGraders: new PythonGraders(), webhookPorts: [443] },
      },
    });
    server = await makeServer({
      extension: { ...extension, metrics: async () => "" },
      keys: { find: async (name) => ({ name, isAdmin: false, mayUse: () => true }) },
    });
    file = (await addTrainingFile(stores)).id;
  });
  afterAll(async () => {
    await opened[Symbol.asyncDispose]();
  });

  const create = (more: object) =>
    server.send(
      "/v1/fine_tuning/jobs",
      { model: "base", training_file: file, ...more },
      { authorization: "Bearer acme" },
    );
  test("a job shows its method with auto where it was left to us, and hyperparameters of supervised ones only", async () => {
    const auto = { batch_size: "auto", n_epochs: "auto", learning_rate_multiplier: "auto" };
    expect((await create({})).json).toMatchObject({
      hyperparameters: auto,
      method: { type: "supervised", supervised: { hyperparameters: auto } },
    });
    const { json } = await create({ method: { type: "dpo", dpo: { hyperparameters: { n_epochs: 2 } } } });
    expect([json.hyperparameters, json.method]).toEqual([
      null,
      { type: "dpo", dpo: { hyperparameters: { ...auto, n_epochs: 2, beta: "auto" } } },
    ]);
    expect((await create({ method: { type: "dpo" } })).json.method.dpo.hyperparameters.beta).toBe("auto");
  });

  const dpo = (hyperparameters: object) => ({ method: { type: "dpo", dpo: { hyperparameters } } });
  test.each<readonly [param: string, body: () => object]>([
    ["method.type", () => ({ method: { type: "ppo" } })],
    ["method.type", () => ({ method: { type: "reinforcement" } })],
    ["method.dpo.hyperparameters.beta", () => dpo({ beta: 0 })],
    ["method.dpo.hyperparameters.beta", () => dpo({ beta: 2.01 })],
    ["method.dpo.hyperparameters.beta", () => dpo({ beta: "0.1" })],
    ["method.dpo.hyperparameters.batch_size", () => dpo({ batch_size: 257 })],
    ["method.dpo.hyperparameters.n_epochs", () => dpo({ n_epochs: 51 })],
    ["method.dpo.hyperparameters.learning_rate_multiplier", () => dpo({ learning_rate_multiplier: 0 })],
    ["method.dpo.hyperparameters.eval_interval", () => dpo({ eval_interval: 1 })],
    ["method.supervised", () => ({ method: { type: "dpo", supervised: {} } })],
    ["hyperparameters", () => ({ method: { type: "dpo" }, hyperparameters: { n_epochs: 1 } })],
    ["mos.objective", () => ({ method: { type: "dpo" }, mos: { objective: "kto" } })],
    ["mos.objective", () => ({ mos: { objective: "grpo" } })],
    ["mos.grader", () => ({ mos: { grader: {} } })],
    ["mos.beta", () => ({ method: { type: "dpo" }, mos: { beta: -1 } })],
  ])("a wrong %s is named", async (param, body) => {
    const { status, json } = await create(body());
    expect([status, json.error.type, json.error.param]).toEqual([400, "invalid_request_error", param]);
  });
});
