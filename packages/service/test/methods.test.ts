// Jobs by each of OpenAI's methods: what is taken, shown, refused, and planned.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OBJECTIVES } from "mixture-of-shards-core/training";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { jobRequestSchema, toTrainingPlan } from "#store";
import { createExtension, openExpired } from "../src/extension.ts";
import { excessLines } from "../src/worker/check-lines.ts";
import { databases, openTables, type TestTables } from "./databases.ts";
import { addTrainingFile } from "./queued-job.ts";
import { makeServer, type TestServer } from "./server.ts";

const LEARNING_RATE = 0.002;
const GRADER = {
  type: "string_check",
  name: "right",
  operation: "eq",
  input: "{{sample.output_text}}",
  reference: "{{item.answer}}",
};
const JUDGE = {
  type: "score_model",
  name: "judge",
  model: "base",
  input: [{ role: "user", content: "Score" }],
};

const keyOf = (name: string) => ({ name, isAdmin: false, mayUse: () => true });

const formatOf = (schema: object) => ({ type: "json_schema", json_schema: { name: "answer", schema } });
const IMPOSSIBLE = formatOf({ impossible: true });

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

const reinforcement = (hyperparameters: object, more: object = {}) => ({
  ...{ validation_file: "file-2", ...more },
  method: { type: "reinforcement", reinforcement: { grader: GRADER, hyperparameters } },
});

test("hyperparameters of reinforcement are settings of grpo, and each evaluation has a checkpoint", () => {
  expect(planned(reinforcement({}))).toMatchObject({
    ...{ objective: "grpo", grader: GRADER, learningRate: LEARNING_RATE },
    ...{ groupSize: 8, evaluateEvery: 10, saveEvery: 10, evaluateSamples: 4 },
  });
  const asked = { compute_multiplier: 0.5, eval_interval: 3, eval_samples: 1, n_epochs: 2 };
  expect(planned(reinforcement(asked))).toMatchObject({
    ...{ groupSize: 4, evaluateEvery: 3, saveEvery: 3, evaluateSamples: 1, epochs: 2 },
  });
  expect(planned(reinforcement({ compute_multiplier: 0.0001 })).groupSize).toBe(2);
  expect(planned(reinforcement({}, { mos: { evaluate_every: 7, group_size: 5 } }))).toMatchObject({
    ...{ groupSize: 5, evaluateEvery: 7, saveEvery: 7 },
  });
  expect(planned(reinforcement({}, { mos: { evaluate_every: 0 } }))).not.toHaveProperty("saveEvery");
  expect(planned({ mos: { objective: "grpo", grader: GRADER } })).toMatchObject({ grader: GRADER });
  expect(() => planned(reinforcement({ batch_size: 256, compute_multiplier: 10 }))).toThrow(
    "a step of 256 prompts with 80 answers of up to 256 tokens has 5242880 tokens",
  );
});

test("files of a reinforcement job have 50,000 and 1,000 lines at most", async () => {
  const folder = await mkdtemp(join(tmpdir(), "mos-methods-"));
  const write = async (name: string, text: string): Promise<string> => {
    await writeFile(join(folder, name), text);
    return join(folder, name);
  };
  const check = (type: string, data: string, validationData: string) =>
    excessLines({ request: { method: { type } } }, { data, validationData });
  try {
    const many = await write("many", "{}\n".repeat(1000));
    const more = await write("more", `${"{}\n".repeat(1000)}{}`);
    expect(await check("reinforcement", more, many)).toBeUndefined();
    expect(await check("dpo", more, more)).toBeUndefined();
    expect(await check("reinforcement", many, more)).toEqual({
      ...{ type: "failed", code: "invalid_validation_file", param: "validation_file" },
      message: "the validation_file has more than 1,000 lines; shorten it",
    });
    const most = await write("most", "{}\n".repeat(50_001));
    expect(await check("reinforcement", most, many)).toMatchObject({ code: "invalid_training_file" });
  } finally {
    await rm(folder, { recursive: true });
  }
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
        ...{ grading: { grade: unused }, webhookPorts: [443] },
      },
    });
    server = await makeServer({
      extension,
      keys: { find: async (name) => keyOf(name), ofTenant: async (name) => [keyOf(name)] },
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
    const rewarded = reinforcement({ eval_interval: 5 }, { validation_file: file });
    expect((await create(rewarded)).json).toMatchObject({
      hyperparameters: null,
      method: {
        type: "reinforcement",
        reinforcement: {
          grader: GRADER,
          hyperparameters: {
            ...{ ...auto, eval_interval: 5, eval_samples: "auto", compute_multiplier: "auto" },
            reasoning_effort: "default",
          },
        },
      },
    });
    expect((await create({ mos: { objective: "grpo", grader: GRADER } })).json.mos.grader).toEqual(GRADER);
  });

  test("an objective of mos is shown as the method of OpenAI that it is", async () => {
    const auto = { batch_size: "auto", n_epochs: "auto", learning_rate_multiplier: "auto" };
    const shown = async (more: object) => {
      const { hyperparameters, method } = (await create(more)).json;
      return [hyperparameters, method];
    };
    expect(await shown({ hyperparameters: { n_epochs: 2 }, mos: { objective: "dpo", beta: 0.3 } })).toEqual([
      null,
      { type: "dpo", dpo: { hyperparameters: { ...auto, n_epochs: 2, beta: 0.3 } } },
    ]);
    expect(await shown({ method: { type: "supervised" }, mos: { objective: "dpo" } })).toEqual([
      null,
      { type: "dpo", dpo: { hyperparameters: { ...auto, beta: "auto" } } },
    ]);
    const answers = { group_size: 4, evaluate_every: 3 };
    expect(await shown({ mos: { objective: "grpo", grader: GRADER, ...answers } })).toEqual([
      null,
      {
        type: "reinforcement",
        reinforcement: {
          grader: GRADER,
          hyperparameters: {
            ...{ ...auto, compute_multiplier: 0.5, eval_interval: 3, eval_samples: "auto" },
            reasoning_effort: "default",
          },
        },
      },
    ]);
    // OpenAI has no name for it
    expect(await shown({ mos: { objective: "kto" } })).toEqual([
      auto,
      { type: "supervised", supervised: { hyperparameters: auto } },
    ]);
  });

  const dpo = (hyperparameters: object) => ({ method: { type: "dpo", dpo: { hyperparameters } } });
  const rewarded = (hyperparameters: object) => reinforcement(hyperparameters, { validation_file: file });
  const graded = (reinforcement: object) => ({
    ...{ validation_file: file, method: { type: "reinforcement", reinforcement } },
  });
  const both = {
    type: "multi",
    name: "both",
    graders: { GRADER, JUDGE },
    calculate_output: "GRADER + JUDGE",
  };
  test.each<readonly [param: string, body: () => object]>([
    ["method.type", () => ({ method: { type: "ppo" } })],
    ["method.reinforcement", () => ({ validation_file: file, method: { type: "reinforcement" } })],
    ["method.reinforcement.grader", () => graded({})],
    ["method.reinforcement.grader", () => graded({ grader: "a" })],
    ["method.reinforcement.grader", () => graded({ grader: { ...GRADER, operation: "is" } })],
    ["method.reinforcement.response_format.type", () => graded({ grader: GRADER, response_format: {} })],
    ["method.reinforcement.response_format", () => graded({ grader: GRADER, response_format: IMPOSSIBLE })],
    ["mos.response_format", () => ({ mos: { response_format: 1 } })],
    ["method.reinforcement.hyperparameters.compute_multiplier", () => rewarded({ compute_multiplier: 11 })],
    ["method.reinforcement.hyperparameters.compute_multiplier", () => rewarded({ compute_multiplier: 1e-5 })],
    ["method.reinforcement.hyperparameters.eval_interval", () => rewarded({ eval_interval: 0 })],
    ["method.reinforcement.hyperparameters.eval_samples", () => rewarded({ eval_samples: 1.5 })],
    ["method.reinforcement.hyperparameters.reasoning_effort", () => rewarded({ reasoning_effort: "huge" })],
    ["method.reinforcement.hyperparameters.beta", () => rewarded({ beta: 1 })],
    ["validation_file", () => reinforcement({}, { validation_file: null })],
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
    ["mos.objective", () => ({ ...rewarded({}), mos: { objective: "grpo" } })],
    ["mos.grader", () => ({ ...rewarded({}), mos: { grader: GRADER } })],
    ["mos.grader", () => ({ mos: { objective: "grpo" } })],
    ["mos.grader", () => ({ mos: { grader: {} } })],
    ["mos.beta", () => ({ method: { type: "dpo" }, mos: { beta: -1 } })],
  ])("a wrong %s is named", async (param, body) => {
    const { status, json } = await create(body());
    expect([status, json.error.type, json.error.param]).toEqual([400, "invalid_request_error", param]);
  });

  test("a form of the answers is shown with its job, and is a setting of its run", async () => {
    const response_format = formatOf({ type: "object" });
    const { json, status } = await create(graded({ grader: GRADER, response_format }));
    expect(status, json.error?.message).toBe(200);
    expect(json.method.reinforcement.response_format).toEqual(response_format);
    const { plan } = await opened.stores.jobs.find({ tenant: "acme", isAdmin: false }, json.id);
    expect(plan.settings["responseFormat"]).toEqual(response_format);
    expect((await create(graded({ grader: GRADER, response_format: null }))).status).toBe(200);
  });

  test("a grader asks models that its key may see, and no others", async () => {
    expect((await create(graded({ grader: both }))).status).toBe(200);
    const [param, other] = ["method.reinforcement.grader", { ...JUDGE, model: "ft:base:bolt::x" }];
    const refused = await create(graded({ grader: { ...both, graders: { GRADER, JUDGE: other } } }));
    expect([refused.status, refused.json.error]).toMatchObject([404, { code: "model_not_found", param }]);
    expect((await create({ mos: { objective: "grpo", grader: other } })).json.error.param).toBe("mos.grader");
  });
});
