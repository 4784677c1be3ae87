import { createProgramChecker } from "mixture-of-shards-sandbox";
import { expect, test, vi } from "vitest";
import { kinds } from "../../../../test/checker-kinds.ts";
import {
  checkItem,
  findExcess,
  type Grader,
  grade,
  PythonGraders,
  parseGrader,
  readSample,
} from "./index.ts";
import { parseTemplate } from "./template.ts";

const never = new AbortController().signal;

const check = {
  type: "string_check",
  name: "right",
  input: "{{sample.output_text}}",
  reference: "{{item.answer}}",
};
const run = (value: unknown, text: string, item: Readonly<Record<string, unknown>> = {}) =>
  grade(parseGrader(value), { item, sample: readSample(text) });

/** The flags of a grade that are set. */
const flags = (errors: object) => Object.fromEntries(Object.entries(errors).filter(([, value]) => value));

test.each([
  ["eq", "Paris", 1],
  ["eq", "paris", 0],
  ["ne", "paris", 1],
  ["neq", "Paris", 0],
  ["like", "It is Paris.", 1],
  ["like", "It is paris.", 0],
  ["ilike", "It is paris.", 1],
])("string_check by %s gives %j the reward %i", async (operation, text, reward) => {
  expect(await run({ ...check, operation }, text, { answer: "Paris" })).toMatchObject({
    reward,
    name: "right",
    type: "string_check",
    scores: {},
  });
});

test("a multi grader computes its formula over fields of a JSON answer", async () => {
  const grader = {
    type: "multi",
    graders: {
      name: {
        ...{ type: "text_similarity", evaluation_metric: "fuzzy_match", pass_threshold: 0.9 },
        ...{ input: "{{sample.output_json.name}}", reference: "{{item.name}}" },
      },
      email: {
        ...check,
        operation: "eq",
        input: "{{ sample.output_json.email }}",
        reference: "{{ item.email }}",
      },
    },
    calculate_output: "(name + email) / 2",
  };
  const item = { name: "John Doe", email: "j@x.org" };
  const right = await run(grader, '{"name":"John Do","email":"j@x.org"}', item);
  expect(right.reward).toBeCloseTo((14 / 15 + 1) / 2, 10);
  expect(right.scores).toEqual({ name: 14 / 15, email: 1 });
  const partial = await run(grader, '{"name":"John Doe"}', item);
  expect(partial.reward).toBe(0.5);
  expect(flags(partial.errors)).toEqual({ sample_parse_error: true });
  const none = await run({ ...grader, calculate_output: "log(name)" }, "no JSON", item);
  expect(none.reward).toBe(0);
  expect(flags(none.errors)).toEqual({ sample_parse_error: true, other_error: true });
});

test("calls of tools are graded by their names", async () => {
  const grader = parseGrader({
    ...check,
    operation: "eq",
    input: "{{sample.output_tools[0].function.name}}",
  });
  const sample = readSample("", [{ type: "function", function: { name: "look_up", arguments: "{}" } }]);
  expect((await grade(grader, { item: { answer: "look_up" }, sample })).reward).toBe(1);
});

test("what the data lacks is found before a run, and noted in one", async () => {
  const grader = parseGrader({ ...check, operation: "eq", reference: "{{item.answers[0].text}}" });
  expect(() => checkItem(grader, { answers: [{ text: "x" }] }, "line 1")).not.toThrow();
  expect(() => checkItem(grader, { answers: [] }, "train.jsonl, line 3")).toThrow(
    /train.jsonl, line 3: the grader needs {{item.answers.0.text}}.*fields of item are answers/,
  );
  const { reward, errors } = await grade(grader, { item: {}, sample: readSample("x") });
  expect([reward, flags(errors)]).toEqual([0, { invalid_variable_error: true }]);
});

test.each([
  [{ type: "label_model" }, /field "type" is "label_model"; expected "string_check" or/],
  [{ ...check, operation: "is" }, /operation" is "is"/],
  [{ ...check, operation: "eq", input: "{{sample.text}}" }, /grader.input: {{sample.text}} names a field/],
  [{ ...check, operation: "eq", input: "{{answer}}" }, /does not begin with item or sample/],
  [{ ...check, operation: "eq", input: '{{item["\\q"]}}' }, /input: {{item\["\\q"\]}} is not a path/],
  [{ ...check, operation: "eq", input: `{{item${".a".repeat(999)}}}` }, /from character 0 on is too long/],
  [{ ...check, operation: "eq", inputs: "" }, /"inputs" is not a known field/],
  [{ type: "text_similarity", evaluation_metric: "cosine", input: "", reference: "" }, /evaluation_metric/],
  [{ type: "python", source: "def score(sample, item): return 1" }, /defines grade/],
  [{ type: "python", source: `def grade(a, b): return 1 #${"x".repeat(256_000)}` }, /at most 256000 bytes/],
  [
    { type: "score_model", model: "m", input: [{ role: "user", content: "x" }], range: [1, 0] },
    /smaller first/,
  ],
  [{ type: "multi", graders: {}, calculate_output: "1" }, /at least one grader/],
  [multiOf("p0", undefined, 33), /at most 32 graders/],
  [multiOf("p0", undefined, 3000), /grader: longer than 300,000 characters|at most 32 graders/],
  [{ ...check, operation: "eq", reference: "x".repeat(300_000) }, /grader: longer than 300,000 characters/],
  [{ ...multiOf("a"), graders: { ["a".repeat(201)]: check } }, /names of letters, digits and _, at most 200/],
  [multiOf("a + b"), /calculate_output: there is no grader b; expected one of a/],
  [multiOf("a +"), /expected a number, a name or a bracket at the end/],
  [multiOf("a a"), /expected an operator before "a"/],
  [multiOf("sin(a)"), /there is no function sin/],
  [multiOf("abs(a, a)"), /abs takes one value, not 2/],
  [multiOf("a; a"), /";" is not part of a formula/],
  [multiOf("a", { type: "multi", graders: {}, calculate_output: "1" }), /expected "string_check" or/],
])("a wrong grader is refused: %#", (value, message) => {
  expect(() => parseGrader(value)).toThrow(message);
});

function multiOf(calculate_output: string, a: unknown = { ...check, operation: "eq" }, parts = 1) {
  const more = Array.from({ length: parts - 1 }, (_, i) => [`p${i}`, a]);
  return { type: "multi", graders: { a, ...Object.fromEntries(more) }, calculate_output };
}

test("a template is read in one pass over its text", () => {
  const text = "{{".repeat(1_000_000);
  const before = process.cpuUsage();
  expect(parseTemplate(text, "input").join("")).toBe(text);
  expect(process.cpuUsage(before).user).toBeLessThan(1e6);
});

test.each([
  ["0.5 * a + 0.5 * b", 0.5],
  ["-a ^ 2", -1],
  ["2 ^ 3 ^ 2", 512],
  ["2 ^ -a", 0.5],
  ["7 - 2 - 1", 4],
  ["8 / 2 / 2", 2],
  ["min(a, b, 3) + max(b, 2)", 2],
  ["floor(1.7) + ceil(.2e1) + sqrt(4) + log(exp(1)) + abs(-a)", 7],
])("%s is %d where a is 1 and b is 0", async (calculate_output, value) => {
  const graders = { a: { ...check, operation: "eq" }, b: { ...check, operation: "ne" } };
  expect((await run({ type: "multi", graders, calculate_output }, "x", { answer: "x" })).reward).toBeCloseTo(
    value,
    12,
  );
});

const judge = {
  ...{
    type: "score_model",
    model: "judge",
    range: [-1, 2],
    sampling_params: { seed: 1, max_completions_tokens: 9 },
  },
  input: [
    { role: "system", content: "Score." },
    { role: "user", content: [{ type: "input_text", text: "{{sample.output_text}}" }] },
  ],
};
const reply = (message: { content: string | null; refusal?: string }) => ({
  model: "judge-1",
  usage: { prompt_tokens: 3, completion_tokens: 4 },
  choices: [{ message }],
});

test("score_model asks for a number in a format, and keeps it within its range", async () => {
  const requests: unknown[] = [];
  const scoreModel = async (request: unknown) => {
    requests.push(request);
    return reply({ content: '{"result": 7, "steps": []}' });
  };
  const result = await grade(parseGrader(judge), { item: {}, sample: readSample("hi") }, { scoreModel });
  expect(result).toMatchObject({ reward: 2, sampledModel: "judge-1" });
  expect(result.usage).toEqual({
    "judge-1": { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 },
  });
  expect(requests).toMatchObject([
    {
      ...{ model: "judge", seed: 1, max_completion_tokens: 9, response_format: { type: "json_schema" } },
      messages: [
        { role: "system", content: "Score." },
        { role: "user", content: "hi" },
      ],
    },
  ]);
});

test.each([
  [reply({ content: "five" }), { model_grader_parse_error: true }],
  [reply({ content: null, refusal: "no" }), { model_grader_refusal_error: true }],
  [new Error("gone"), { model_grader_server_error: true, model_grader_server_error_details: "gone" }],
])("score_model notes what went wrong: %j", async (answer, expected) => {
  const scoreModel = async () => {
    if (answer instanceof Error) throw answer;
    return answer;
  };
  const { reward, errors } = await grade(
    parseGrader(judge),
    { item: {}, sample: readSample("hi") },
    { scoreModel },
  );
  expect([reward, flags(errors)]).toEqual([0, expected]);
});

const ofPython = (source: string): Grader => parseGrader({ type: "python", source });

// a program is the same in both, and Pyodide takes seconds to start
for (const [name, path] of kinds)
  test(`${name}: a Python grader sees the answer and the item, and what it returns is the reward`, {
    tags: path === undefined && kinds.length > 1 ? ["thorough"] : [],
  }, async () => {
    await using python = new PythonGraders({}, (options) =>
      createProgramChecker({ ...options, workers: 1, python: path }),
    );
    const grader = ofPython(
      `def grade(sample, item):\n    assert sample["choices"][0]["message"]["content"] == sample["output_text"]\n    return len(sample["output_json"]["a"]) / item["π \\"\\\\"]`,
    );
    const sample = readSample('{"a": "\\ud83d\\ude42\\n\\u0000\u2028"}');
    const result = await grade(grader, { item: { 'π "\\': 8 }, sample }, { python });
    expect(result).toMatchObject({ reward: 0.5, type: "python", name: "python" });
  });

test("texts are too long when their templates are filled in, and are not filled in then", async () => {
  const part = { ...check, operation: "eq", input: "{{item.a}}".repeat(250), reference: "" };
  const grader = parseGrader(multiOf("a", part, 30));
  let read = 0;
  // a value that counts how often it becomes text
  const a = {
    toJSON() {
      read += 1;
      return "x".repeat(400_000);
    },
  };
  const input = { item: { a }, sample: readSample("") };
  expect(findExcess(grader, input)).toMatch(/more than 1,000,000 characters/);
  expect(read).toBe(3);
  const { reward, errors } = await grade(grader, input);
  expect([reward, flags(errors)]).toEqual([0, { truncated_observation_error: true }]);
  expect(read).toBe(6);
  expect(() => checkItem(grader, { a }, "line 7")).toThrow(
    /^line 7: .*1,000,000 characters; shorten the line/,
  );
  const short = parseGrader({ ...part, input: "{{item.a}}{{sample.output_text}}" });
  expect(findExcess(short, { item: { a: "x".repeat(999_999) }, sample: readSample("y") })).toBeUndefined();
  expect(findExcess(short, { item: { a: "x".repeat(999_999) }, sample: readSample("yz") })).toBeDefined();
});

test("a JSON answer that is nested too deep to be written again counts as text", () => {
  expect(readSample(`${"[".repeat(50_000)}${"]".repeat(50_000)}`)).not.toHaveProperty("output_json");
});

test("grading ends when its time is over, unless it is cancelled before", async () => {
  const grader = parseGrader(judge);
  const input = { item: {}, sample: readSample("") };
  const scoreModel = (_: object, signal: AbortSignal | undefined) =>
    new Promise<never>((_, reject) => {
      signal?.throwIfAborted();
      signal?.addEventListener("abort", () => reject(signal.reason));
    });
  const { reward, errors } = await grade(grader, input, { scoreModel, seconds: 0.001 });
  expect([reward, flags(errors)]).toEqual([0, { unresponsive_reward_error: true }]);
  const cancelled = grade(grader, input, { scoreModel, seconds: 100, signal: AbortSignal.abort() });
  await expect(cancelled).rejects.toMatchObject({ code: "cancelled" });
});

test("a sandbox serves many programs, is closed when it is idle, and opened again", async () => {
  vi.useFakeTimers();
  try {
    const closed = vi.fn();
    const open = vi.fn(async () => ({
      check: async () => ({ passed: false, reason: "failed: GradeOfThisAnswer: 0.5" }) as const,
      [Symbol.asyncDispose]: async () => closed(),
    }));
    const own = new PythonGraders({}, open);
    const run = () => own.run("", { item: {}, sample: readSample("") }, never);
    expect(await Promise.all([run(), run()])).toEqual([{ reward: 0.5 }, { reward: 0.5 }]);
    await vi.advanceTimersByTimeAsync(59_000);
    await run();
    await vi.advanceTimersByTimeAsync(59_000);
    expect([open.mock.calls.length, closed.mock.calls.length]).toEqual([1, 0]);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(closed).toHaveBeenCalledTimes(1);
    await run();
    await own[Symbol.asyncDispose]();
    expect([open.mock.calls.length, closed.mock.calls.length]).toEqual([2, 2]);
    const left = own.run("", { item: {}, sample: readSample("") }, AbortSignal.abort());
    await expect(left).rejects.toMatchObject({ code: "cancelled" });
    expect(open).toHaveBeenCalledTimes(2);
  } finally {
    vi.useRealTimers();
  }
});
