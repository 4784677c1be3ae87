// Runs that learn from the rewards of their own answers, on the bundled model.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type FinetuneEvent, type FinetuneOptions, finetune } from "#training";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-grpo-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const ask = (content: string) => ({ messages: [{ role: "user", content }], wanted: "sorry" }) as const;

const options = {
  model: "assets/tiny-english",
  data: [ask("Do you open on Sundays?"), ask("Can I bring my dog?")],
  validationData: [ask("Is there a car park?")],
  adapter: { method: "lora", rank: 2, dropout: 0.1 },
  settings: {
    objective: "grpo",
    steps: 3,
    batchSize: 2,
    groupSize: 3,
    maxCompletionLength: 10,
    warmup: 0,
    evaluateEvery: 2,
    saveEvery: 1,
    learningRate: 2e-3,
  },
  session: { threads: 1 },
  now: () => 0,
} satisfies Partial<FinetuneOptions>;

type Run = Partial<FinetuneOptions> & Pick<FinetuneOptions, "out">;

async function eventsOf(run: Run): Promise<readonly FinetuneEvent[]> {
  const events: FinetuneEvent[] = [];
  for await (const event of finetune({ ...options, reward: vowels, ...run })) events.push(event);
  return events;
}

/** Vowels: forms make answers as long as each other. */
const vowels: NonNullable<FinetuneOptions["reward"]> = (item, { output_text: text }) => {
  expect(item["wanted"]).toBe("sorry");
  return text.replaceAll(/[^aeiou]/g, "").length;
};

const NOTE = {
  type: "object",
  properties: { note: { type: "string", maxLength: 12 } },
  required: ["note"],
  additionalProperties: false,
};

test.each([
  ["free", {}],
  ["formed", { responseFormat: { type: "json_schema", json_schema: { name: "answer", schema: NOTE } } }],
])(
  "a run that is stopped while it samples %s answers, and resumed, leaves the same bytes",
  async (kind, more) => {
    const settings = { ...options.settings, maxCompletionLength: 40, ...more };
    const whole = join(folder, `whole ${kind}`);
    const events = await eventsOf({ out: whole, settings });
    expect(events.filter(({ type }) => type === "step")).toHaveLength(3);
    const evaluations = events.filter((event) => event.type === "evaluation");
    for (const { loss, metrics } of evaluations) expect(metrics?.["eval_reward"]).toBe(-loss);
    const stopped = join(folder, `stopped ${kind}`);
    const stop = new AbortController();
    let graded = 0;
    const reward: typeof vowels = (item, sample) => {
      graded += 1;
      // the evaluation before training has 3 answers, an update 6
      if (graded === 3 + 6 + 2) stop.abort();
      return vowels(item, sample);
    };
    const before = await eventsOf({ out: stopped, settings, reward, signal: stop.signal });
    expect(before.at(-1)).toMatchObject({ type: "stopped", step: 1 });
    await eventsOf({ out: stopped, settings, resume: true });
    for (const file of ["adapter_model.safetensors", "metrics.jsonl"])
      expect(await readFile(join(stopped, file)), file).toEqual(await readFile(join(whole, file)));
  },
);

test("a grader is data, too, and its name is in the metrics", async () => {
  const grader = {
    ...{ type: "string_check", name: "polite", operation: "ilike" },
    ...{ input: "{{sample.output_text}}", reference: "{{item.wanted}}" },
  };
  const settings = { ...options.settings, steps: 1, grader };
  const events = await eventsOf({ out: join(folder, "graded"), reward: undefined, settings });
  const step = events.find((event) => event.type === "step");
  expect(step?.metrics?.["rewards/polite/mean"]).toBe(step?.metrics?.["reward"]);
  expect(step?.metrics?.["completions/mean_length"]).toBeGreaterThan(1);
});

test("answers have the form that is asked for, and graders read it", async () => {
  const grader = {
    ...{ type: "text_similarity", name: "close", evaluation_metric: "fuzzy_match" },
    ...{ input: "{{sample.output_json.note}}", reference: "sorry" },
  };
  const responseFormat = { type: "json_schema", json_schema: { name: "answer", schema: NOTE } };
  const sampled = { steps: 1, groupSize: 8, maxCompletionLength: 64 };
  const settings = { ...options.settings, ...sampled, grader, responseFormat };
  const events = await eventsOf({ out: join(folder, "formed"), reward: undefined, settings });
  const step = events.find((event) => event.type === "step");
  expect(step?.metrics).toMatchObject({ frac_unreadable: 0 });
  expect(step?.metrics?.["reward"]).toBeGreaterThan(0);
  const wrong = { ...responseFormat, json_schema: { name: "answer" } };
  await expect(
    eventsOf({ out: join(folder, "wrong"), settings: { ...settings, responseFormat: wrong } }),
  ).rejects.toThrow('responseFormat: field "json_schema.schema" is missing');
});

test("a model grades by whoever answers for it, and one that fails gives no rewards", async () => {
  const judge = {
    ...{ type: "score_model", name: "judge", model: "judge" },
    input: [{ role: "user", content: "Score {{sample.output_text}}" }],
  };
  const settings = { ...options.settings, steps: 1, groupSize: 8, grader: judge };
  const run = { reward: undefined, settings };
  const asked: string[] = [];
  const scoreModel: FinetuneOptions["scoreModel"] = async ({ messages: [message] }) => {
    asked.push(message?.content ?? "");
    if (asked.length % 4 === 0) throw new Error("busy");
    return { choices: [{ message: { content: `{"result": ${(message?.content.length ?? 0) / 100}}` } }] };
  };
  const events = await eventsOf({ ...run, out: join(folder, "judged"), scoreModel });
  const step = events.find((event) => event.type === "step");
  expect(asked[0]).toMatch(/^Score ./);
  expect(step?.metrics).toMatchObject({ frac_ungraded: 1 / 4, "errors/model_grader_server_error": 1 / 4 });
  expect(step?.metrics?.["rewards/judge/mean"]).toBe(step?.metrics?.["reward"]);
  await expect(eventsOf({ ...run, out: join(folder, "unjudged") })).rejects.toThrow(
    'this run cannot ask the model "judge"',
  );
});

test("without a grader, or without a difference in rewards, a run ends with what to do", async () => {
  const out = join(folder, "none");
  await expect(eventsOf({ out, reward: undefined })).rejects.toThrow("give a grader");
  const never: typeof vowels = (_, { output_text: text }) => Number(text.endsWith("never"));
  await expect(eventsOf({ out, reward: never })).rejects.toThrow(
    "no signal: all rewards of every group are equal in the first 3 updates (now 0)",
  );
});
