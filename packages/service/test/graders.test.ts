// Graders over HTTP. What they compute is tested where they are defined.
import { MosError } from "mixture-of-shards";
import { grade, type PythonGraders, readSample } from "mixture-of-shards-core/graders";
import { beforeAll, expect, test } from "vitest";
import { addServiceRoutes, type ServiceEnv } from "#api";
import { makeServer, type TestServer } from "./server.ts";

/** In place of the sandbox, which takes seconds to start. */
const python = {
  run: async (source) =>
    source.includes("0.75") ? { reward: 0.75 } : { fault: "program", details: "TypeError" },
} satisfies Pick<PythonGraders, "run">;
let isFull = false;
/** In this process, in place of one of its own. */
const grading: ServiceEnv["grading"] = {
  async grade({ grader, item, text }, { ask: scoreModel }) {
    if (isFull)
      throw new MosError("busy", "acme already has 8 gradings in progress; retry later", { retryAfter: 5 });
    return grade(grader, { item, sample: readSample(text) }, { python, scoreModel });
  },
};
let server: TestServer;
/** What the key of the requests may do. */
let limits: { readonly maxConcurrent?: number; readonly requestsPerMinute?: number } = {};
beforeAll(async () => {
  server = await makeServer({
    extension: {
      // no other part of the service is asked
      routes: (app) => addServiceRoutes(app, { grading } as unknown as ServiceEnv),
    },
    keys: { find: async (name) => ({ name, isAdmin: false, mayUse: () => true, ...limits }) },
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
  const before = server.log.length;
  const { status, json } = await send("run", { grader: judge, model_sample: "hi" });
  expect(status).toBe(200);
  // the engine of this test writes no JSON
  const { model_grader_parse_error: parse, model_grader_server_error: refused } = json.metadata.errors;
  expect([json.reward, parse || refused]).toEqual([0, true]);
  const logged = server.log.slice(before).filter(({ fields }) => fields["path"] === "/v1/chat/completions");
  expect(logged).toMatchObject([{ fields: { key: "acme" } }]);
});

test("a key that allows one request is enough for a grading that asks models", async () => {
  limits = { maxConcurrent: 1, requestsPerMinute: 1 };
  const grader = { type: "multi", graders: { a: judge, b: judge }, calculate_output: "a + b" };
  const body = JSON.stringify({ grader, model_sample: "hi" });
  const headers = { "content-type": "application/json", authorization: "Bearer one" };
  const path = "/v1/fine_tuning/alpha/graders/run";
  try {
    expect((await server.fetch(path, { method: "POST", body, headers })).status).toBe(200);
    const asked = server.log.filter(
      ({ fields }) => fields["key"] === "one" && fields["path"] === "/v1/chat/completions",
    );
    // a prompt that is too long for the engine of this test, but none that the key may not send now
    expect(asked.map(({ fields }) => fields["error"])).toEqual(Array(2).fill("context_length_exceeded"));
    expect((await server.fetch(path, { method: "POST", body, headers })).status).toBe(429);
  } finally {
    limits = {};
  }
});

test("a tenant with too many gradings is told when to send them again", async () => {
  isFull = true;
  const { status, headers, json } = await send("run", { grader: check, model_sample: "" });
  isFull = false;
  expect([status, headers.get("retry-after"), headers.get("x-should-retry")]).toEqual([429, "5", null]);
  expect(json.error).toMatchObject({ code: "busy", message: expect.stringMatching(/8 gradings/) });
});

const multi = (parts: number) => ({
  type: "multi",
  graders: Object.fromEntries(Array.from({ length: parts }, (_, i) => [`p${i}`, check])),
  calculate_output: "p0",
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
  [multi(33), 400, "grader.graders", /at most 32 graders/],
  [multi(3000), 400, "grader.graders", /at most 32 graders/],
  [{ ...check, reference: "x".repeat(300_000) }, 400, "grader", /longer than 300,000 characters/],
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
