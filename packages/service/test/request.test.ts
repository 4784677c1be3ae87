// What the hyperparameters of a job mean.
import { finetuneSettings, runCheck } from "mixture-of-shards";
import { adapterOptions } from "mixture-of-shards/kit";
import { type Setting, settingInfo } from "mixture-of-shards-core/common";
import { describe, expect, test } from "vitest";
import { jobRequestSchema, toTrainingPlan } from "#store";

test("a step has at most 1,048,576 tokens, however it is made of them", () => {
  const asked = (mos: object) => () => plannedRate({ mos });
  const refused = (message: RegExp) =>
    expect.objectContaining({ code: "bad_option", message: expect.stringMatching(message) });
  expect(asked({ gradient_accumulation_steps: 65_536 })).toThrowError(
    refused(/^a step of 65536 batches of 4 rows of 512 tokens has 134217728 tokens, and at most 1048576 are/),
  );
  expect(asked({ batch_size: 4096 })).toThrowError(refused(/of 4096 rows .* use a smaller batch_size/));
  expect(asked({ batch_size: 256, max_length: 4097 })).toThrowError(refused(/at most 1048576/));
  expect(asked({ batch_size: 256, max_length: 4096 })()).toBe(0.002);
  expect(asked({ gradient_accumulation_steps: 65_536, batch_size: 1, max_length: 16 })()).toBe(0.002);
});

const plannedRate = (asked: object): number | undefined => {
  const request = jobRequestSchema.parse({ model: "base", training_file: "file-1", ...asked });
  return toTrainingPlan(request, { seed: 1, learningRate: 0.002 }).settings.learningRate;
};

test("a multiplier is of the learning rate that is usual for the base", () => {
  expect(plannedRate({})).toBe(0.002);
  expect(plannedRate({ hyperparameters: { learning_rate_multiplier: "auto" } })).toBe(0.002);
  expect(plannedRate({ hyperparameters: { learning_rate_multiplier: 0.5 } })).toBe(0.001);
  const supervised = { hyperparameters: { learning_rate_multiplier: 2 } };
  expect(plannedRate({ method: { type: "supervised", supervised } })).toBe(0.004);
});

describe("settings under mos", () => {
  const fields: Readonly<Record<string, string>> = { targets: "target_modules", method: "adapter" };
  const fieldOf = (name: string): string =>
    fields[name] ?? name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  const isTaken = (mos: object): boolean =>
    jobRequestSchema.safeParse({ model: "base", training_file: "file-1", mos }).success;
  const withheld = [
    ...["dataColumns", "maxExamples", "validationSplit", "seed", "memoryLimit", "grader"],
    // a tenant must not name addresses that the server asks
    ...["teacher", "teacherModel", "advantageLimit"],
  ];
  const values = [
    -1,
    0,
    0.5,
    1,
    7,
    1e5,
    1e9,
    true,
    "int8",
    "linear",
    "plain",
    ["q_proj"],
    ["c_attn"],
    { a: 1 },
  ];

  test.each(Object.entries<Setting>({ ...finetuneSettings, ...adapterOptions }))(
    "%s is taken as mos train takes it, or not offered",
    (name, setting) => {
      const { check } = settingInfo(setting);
      const expected = values.map((value) => !withheld.includes(name) && check.safeParse(value).success);
      if (name === "saveEvery") expected[values.indexOf(0)] = false; // a job needs its checkpoints
      expect(values.map((value) => isTaken({ [fieldOf(name)]: value }))).toEqual(expected);
    },
  );

  test("are those of the run and of the adapter", () => {
    const mos = {
      adapter: "prolora",
      unshared_rank: 1,
      target_modules: ["q_proj"],
      beta1: 0.8,
      packing: false,
    };
    const request = jobRequestSchema.parse({ model: "base", training_file: "file-1", mos });
    expect(toTrainingPlan(request, { seed: 1, learningRate: 0.002 })).toEqual({
      adapter: { method: "prolora", unsharedRank: 1, targets: ["q_proj"] },
      settings: {
        beta1: 0.8,
        packing: false,
        learningRate: 0.002,
        seed: 1,
        validationSplit: 0,
      },
    });
  });

  test("a text has at most 10,000 characters", () => {
    expect(isTaken({ system: "x".repeat(9_000) })).toBe(true);
    expect(isTaken({ system: "x".repeat(10_001) })).toBe(false);
    expect(isTaken({ chat_template_kwargs: { a: "x".repeat(10_001) } })).toBe(false);
  });
});

test("our own field has the last word", () => {
  const hyperparameters = { learning_rate_multiplier: 2 };
  expect(plannedRate({ hyperparameters, mos: { learning_rate: 0.01 } })).toBe(0.01);
});

test("a job that names no rank has what the layers of a small base can share; one that does is held to it", async () => {
  const check = await runCheck("assets/tiny-english");
  const planned = (mos: object) =>
    toTrainingPlan(jobRequestSchema.parse({ model: "base", training_file: "file-1", mos }), {
      seed: 1,
      learningRate: 0.002,
    });
  check(planned({}));
  check(planned({ private_rank: 0 }));
  expect(() => check(planned({ rank: 8 }))).toThrowError(/share only 5/);
});
