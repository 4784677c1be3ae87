import { expect, test } from "vitest";
import { EMPTY_DRAFT, fromJob, openFields, toRequest } from "./draft.ts";
import type { SettingField } from "./fields.ts";

const field = (name: string, more: Partial<SettingField> = {}): SettingField => ({
  name,
  kind: "integer",
  choices: [],
  minimum: 1,
  maximum: undefined,
  above: undefined,
  below: undefined,
  help: "",
  label: undefined,
  standard: "",
  option: undefined,
  methods: undefined,
  ...more,
});
const fields = [
  field("adapter", { kind: "choice", choices: ["mos", "lora"] }),
  field("epochs"),
  field("steps"),
  field("rank", { methods: { mos: {}, lora: {} } }),
  field("private_rank", { methods: { mos: {} } }),
  field("system", { kind: "text" }),
];
const context = { fields, base: "tiny" };
const draft = { ...EMPTY_DRAFT, model: "tiny", trainingFile: "file-1" };

test("only what was filled in is sent", () => {
  expect(toRequest(draft, context)).toEqual({
    body: { model: "tiny", training_file: "file-1", mos: { adapter: "mos" } },
    problems: {},
  });
  const values = { steps: "40", private_rank: "2", rank: " ", system: "Be brief." };
  expect(
    toRequest({ ...draft, validationFile: "file-2", suffix: " my-model ", values }, context).body,
  ).toEqual({
    model: "tiny",
    training_file: "file-1",
    validation_file: "file-2",
    suffix: "my-model",
    mos: { adapter: "mos", steps: 40, private_rank: 2, system: "Be brief." },
  });
});

test("the objective is the file's until somebody chooses one", () => {
  const found = { fields: [...fields, field("objective", { kind: "text" })], base: "tiny", objective: "dpo" };
  expect(toRequest(draft, found).body.mos).toEqual({ adapter: "mos", objective: "dpo" });
  const chosen = { ...draft, values: { objective: "orpo" } };
  expect(toRequest(chosen, found).body.mos).toEqual({ adapter: "mos", objective: "orpo" });
});

test("settings of another method stay in the form, but out of the request", () => {
  const lora = { ...draft, method: "lora", values: { private_rank: "2", rank: "4" } };
  expect(toRequest(lora, context).body.mos).toEqual({ adapter: "lora", rank: 4 });
});

test("a fine-tuned model keeps its adapter's settings", () => {
  const continued = { ...draft, model: "ft:tiny:acme::1", values: { rank: "4", steps: "3" } };
  expect(openFields(continued, context).map(({ name }) => name)).toEqual(["epochs", "steps", "system"]);
  expect(toRequest(continued, context).body.mos).toEqual({ steps: 3 });
});

test("what is wrong has the name of its field in the API", () => {
  const { body, problems } = toRequest({ ...draft, values: { steps: "0", rank: "2" } }, context);
  expect(problems).toEqual({ "mos.steps": "Enter a whole number 1 or more" });
  expect(body.mos).toEqual({ adapter: "mos", rank: 2 });
});

test("a job that is done again has the settings that it had", () => {
  const job = {
    model: "tiny",
    training_file: "file-1",
    validation_file: null,
    user_provided_suffix: null,
    mos: { adapter: "lora", rank: 4, epochs: 2.5, step: 10, total_steps: 10, priority: 0 },
  };
  const again = fromJob(job, fields);
  expect(again).toEqual({ ...draft, method: "lora", values: { rank: "4", epochs: "2.5" } });
  expect(fromJob({ ...job, mos: { ...job.mos, steps: 10 } }, fields).values).toEqual({
    rank: "4",
    steps: "10",
  });
});
