// Graders over HTTP. What they compute is tested where they are defined.
import type { PythonGraders } from "mixture-of-shards/cli";
import { beforeAll, expect, test } from "vitest";
import { addServiceRoutes, type ServiceEnv } from "#api";
import { makeServer, type TestServer } from "./server.ts";

/** In place of the sandbox, which takes seconds to start. */
const python = {
  run: async (source) =>
    source.includes("0.75") ? { reward: 0.75 } : { fault: "program", details: "TypeError" },
} satisfies Pick<PythonGraders, "run">;
let server: TestServer;
beforeAll(async () => {
  server = await makeServer({
    extension: {
      // no other part of the service is asked
      addRoutes: (app) => addServiceRoutes(app, { pythonGraders: python } as unknown as ServiceEnv),
      extendKey: (key) => key,
      fetch: async () => false,
      resolve: async () => undefined,
      describe: async () => ({ aliases: [], models: new Map() }),
      metrics: async () => "",
    },
    keys: { find: async (name) => ({ name, isAdmin: false, mayUse: () => true }) },
  });
});

const send = (route: "run" | "validate", body: unknown) =>
  server.send(`/v1/fine_tuning/alpha/graders/${route}`, body, { authorization: "Bearer acme" });

const check = {
  ...{ type: "string_check", name: "right", operation: "eq" },
  ...{ input: "{{sample.output_json.city}}", reference: "{{item.answer}}" },
};
const judge = {
  type: "score_model",
  name: "judge",
  model: "base",
  input: [{ role: "user", content: "Score: {{sample.output_text}}" }],
};

const NO_ERRORS = {
  formula_parse_error: false,
  sample_parse_error: false,
  truncated_observation_error: false,
  unresponsive_reward_error: false,
  invalid_variable_error: false,
  other_error: false,
  python_grader_server_error: false,
  python_grader_server_error_type: null,
  python_grader_runtime_error: false,
  python_grader_runtime_error_details: null,
  model_grader_server_error: false,
  model_grader_server_error_details: null,
  model_grader_refusal_error: false,
  model_grader_parse_error: false,
};

test("an answer is graded, with all fields of OpenAI's answer", async () => {
  const grader = { type: "multi", name: "both", graders: { city: check }, calculate_output: "2 * city" };
  const { status, json } = await send("run", {
    grader,
    model_sample: '{"city":"Bern"}',
    item: { answer: "Bern" },
  });
  expect(status).toBe(200);
  expect(json).toEqual({
    reward: 2,
    metadata: {
      ...{ name: "both", type: "multi", errors: NO_ERRORS, execution_time: expect.any(Number) },
      ...{ scores: { city: 1 }, token_usage: null, sampled_model_name: null },
    },
    sub_rewards: { city: 1 },
    model_grader_token_usage_per_model: {},
  });
  const wrong = await send("run", { grader: check, model_sample: "Bern", item: { answer: "Bern" } });
  expect(wrong.json).toMatchObject({ reward: 0, metadata: { errors: { sample_parse_error: true } } });
});

test("score_model asks a model of the server, by the key of the request", async () => {
  const { status, json } = await send("run", { grader: judge, model_sample: "hi" });
  expect(status).toBe(200);
  // the engine of this test writes no JSON
  const { model_grader_parse_error: parse, model_grader_server_error: refused } = json.metadata.errors;
  expect([json.reward, parse || refused]).toEqual([0, true]);
  const logged = server.log.filter(({ fields }) => fields["path"] === "/v1/chat/completions");
  expect(logged).toMatchObject([{ fields: { key: "acme" } }]);
});

test("Python graders are run by the service", async () => {
  const source = "def grade(sample, item):\n    return 0.75";
  const { json } = await send("run", { grader: { type: "python", source }, model_sample: "abc" });
  expect(json).toMatchObject({ reward: 0.75, metadata: { name: "python", type: "python" } });
  const failed = await send("run", { grader: { type: "python", source: "grade = 1" }, model_sample: "abc" });
  expect(failed.json.metadata.errors).toMatchObject({
    python_grader_runtime_error: true,
    python_grader_runtime_error_details: "TypeError",
  });
});

test("a valid grader comes back", async () => {
  expect(await send("validate", { grader: check })).toMatchObject({ status: 200, json: { grader: check } });
});

test.each([
  [{ ...check, operation: "is" }, 400, "grader.operation", /"eq" or/],
  [{ ...check, input: "{{sample.city}}" }, 400, "grader", /{{sample.city}} names a field/],
  [{ type: "multi", graders: { a: check }, calculate_output: "b" }, 400, "grader", /there is no grader b/],
  [{ ...judge, model: "gpt-5" }, 404, "grader", /the model "gpt-5" does not exist/],
])("a wrong grader is refused: %#", async (grader, status, param, message) => {
  for (const [route, more] of [
    ["validate", {}],
    ["run", { model_sample: "" }],
  ] as const) {
    const answer = await send(route, { grader, ...more });
    expect(answer.status, answer.text).toBe(status);
    expect(answer.json.error).toMatchObject({ param, message: expect.stringMatching(message) });
  }
});
