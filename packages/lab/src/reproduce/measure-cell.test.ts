import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type BaseModel,
  createAdapter,
  type Engine,
  type Example,
  generate,
  loadModel,
  openEngine,
  parseAdapterConfig,
  saveAdapter,
  toLayerShapes,
} from "mixture-of-shards";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  type AnswerSettings,
  countCorrect,
  isCorrectAnswer,
  type Question,
  toQuestion,
  trainedPart,
} from "./measure-cell.ts";

let cell: string;
beforeAll(async () => {
  cell = await mkdtemp(join(tmpdir(), "mos-measure-"));
  await mkdir(join(cell, "run"));
});
afterAll(() => rm(cell, { recursive: true, force: true }));

const measureTrained = async (lines: readonly object[], resumedAt = 0) => {
  const text = lines.map((line) => `${JSON.stringify(line)}\n`).join("");
  await writeFile(join(cell, "run", "metrics.jsonl"), text);
  return trainedPart({ folder: cell, adapter: parseAdapterConfig({ method: "lora" }) }, resumedAt);
};
const makeStep = (step: number, seconds: number) => ({
  ...{ type: "step", step, loss: 4 - step, seconds, tokens: 10 },
  ...{ accuracy: 0, learningRate: 0.1, gradientNorm: 1 },
});

test("updates that compiled a program count with the median time", async () => {
  const evaluation = { type: "evaluation", step: 2, loss: 9, accuracy: 0, seconds: 50 };
  const lines = [
    makeStep(1, 20),
    makeStep(2, 1),
    evaluation,
    makeStep(3, 30),
    makeStep(4, 3),
    makeStep(5, 2),
  ];
  expect(await measureTrained(lines, 2)).toEqual({
    losses: [3, 2, 1, 0, -1],
    tokens: 50,
    seconds: { training: 3 + 1 + 3 + 3 + 2, step: 3 },
  });
});

test("a line that is not a metric is an error with its line number", async () => {
  await expect(measureTrained([makeStep(1, 1), { ...makeStep(2, 1), step: "2" }])).rejects.toMatchObject({
    code: "bad_data",
    message: expect.stringMatching(/metrics\.jsonl:2: field "step" is "2"; expected a number/),
  });
});

let base: BaseModel;
let folder: string;
let engine: Engine;
beforeAll(async () => {
  base = await loadModel("assets/tiny-english");
  folder = await mkdtemp(join(tmpdir(), "mos-answers-"));
  const shapes = toLayerShapes(base.model.config);
  const adapter = createAdapter(parseAdapterConfig({ method: "lora", rank: 2 }), shapes);
  const { name: model, fingerprint } = base.model;
  const of = { base: { name: model, fingerprint } };
  await saveAdapter(join(folder, "fresh"), adapter, of);
  for (const [name, { data }] of adapter.tensors) if (name.includes("B")) data.fill(0.3);
  await saveAdapter(join(folder, "loud"), adapter, of);
  engine = await openEngine({ model: "assets/tiny-english", adapters: folder, threads: 1, inProcess: true });
});
afterAll(async () => {
  await engine[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

const makeSettings = (engine: Engine, adapter: string | null = null): AnswerSettings => ({
  engine,
  adapter,
  maxTokens: 6,
  signal: undefined,
});
const toQuestions = (examples: readonly Example[]): readonly Question[] =>
  examples.map((example) =>
    toQuestion(example, { text: base.text, promptFormat: "template", system: undefined, maxLength: 512 }),
  );

const asked = (question: string, answer: string): Example => ({
  kind: "chat",
  line: 1,
  turns: [
    { role: "user", content: question, isTarget: false },
    { role: "assistant", content: answer, isTarget: true },
  ],
});
const QUESTIONS = [
  "Hello",
  "Do you have a cat?",
  "Where is it, and how much is it for two?",
  "Who are you",
  "Why?",
];

/** The base's answers to each prompt alone. */
async function answersAlone(): Promise<readonly string[]> {
  const answers: string[] = [];
  for (const content of QUESTIONS) {
    let answer = "";
    for await (const event of generate(base, [{ role: "user", content }], { maxTokens: 6 }))
      if (event.type === "token" || event.type === "finish") answer += event.text;
    answers.push(answer);
  }
  return answers;
}

test("answers in one batch equal those that each prompt gets alone", async () => {
  const answers = await answersAlone();
  const examples = QUESTIONS.map((question, i) => asked(question, answers[i]!.trim() || "x"));
  const expected = answers.filter((answer) => answer.trim() !== "").length;
  expect(expected).toBeGreaterThan(2);
  expect(await countCorrect(toQuestions(examples), makeSettings(engine))).toEqual({
    correct: expected,
    total: 5,
  });
  const wrong = [asked(QUESTIONS[0]!, "Something else."), ...examples.slice(1)];
  const found = await countCorrect(toQuestions(wrong), makeSettings(engine));
  expect(found.correct).toBeLessThan(expected);
});

test("an adapter changes the answer, an untrained one does not", async () => {
  const answers = await answersAlone();
  const questions = toQuestions(QUESTIONS.map((question, i) => asked(question, answers[i]!.trim() || "x")));
  const before = await countCorrect(questions, makeSettings(engine));
  expect(await countCorrect(questions, makeSettings(engine, "fresh"))).toEqual(before);
  expect((await countCorrect(questions, makeSettings(engine, "loud"))).correct).toBe(0);
});

test("a question is everything before the last answer, in the prompt format of training", () => {
  const example: Example = {
    kind: "chat",
    line: 1,
    turns: [
      { role: "user", content: "One?", isTarget: false },
      { role: "assistant", content: "Two.", isTarget: true },
      { role: "user", content: "Three?", isTarget: false },
      { role: "assistant", content: "Four.", isTarget: true },
    ],
  };
  const [{ ids, reference } = { ids: [], reference: "" }] = toQuestions([example]);
  const text = base.text.template.render(
    example.turns.slice(0, 3).map(({ role, content }) => ({ role, content })),
    { addGenerationPrompt: true },
  );
  expect(ids.slice(-5)).toEqual(base.text.tokenizer.encode(text, { addSpecialTokens: false }).slice(-5));
  expect(reference).toBe("Four.");
  const plain = toQuestion(
    { kind: "completion", line: 1, prompt: "The cat", completion: " sat." },
    { text: base.text, promptFormat: "plain", system: undefined, maxLength: 512 },
  );
  expect(plain.reference).toBe(" sat.");
  const bare = base.text.tokenizer.encode("The cat", { addSpecialTokens: false });
  expect(plain.ids.slice(-bare.length)).toEqual(bare);
});

test("a prompt that leaves no room for an answer is not answered", async () => {
  const long = asked("cat ".repeat(200), "x");
  const settings = { ...makeSettings(engine), maxTokens: base.model.config.maxPositions - 1 };
  expect(await countCorrect(toQuestions([long]), settings)).toEqual({ correct: 0, total: 1 });
});

const reference = "She sells 48/2 = <<48/2=24>>24 in May.\n#### 1,072";

test.each([
  ["the same", reference, reference, true],
  ["another way to the same number", "It is 1072.\n#### 1072", reference, true],
  ["blanks around the number", "####   1,072  \n", reference, true],
  ["no line break before the mark", "so #### 1072", reference, true],
  ["the last mark counts", "#### 5\n#### 1072", reference, true],
  ["another number", "#### 1073", reference, false],
  ["more than the number", "#### 1072 dollars", reference, false],
  ["no mark", "1072", reference, false],
  ["nothing", "", reference, false],
  ["free text, the same", " Good day.\n", "Good day.", true],
  ["free text, another", "Good day", "Good day.", false],
  ["commas count in free text", "1000", "1,000", false],
  ["a mark inside a line of the reference is text", "#### 3", "No. #### 3", false],
])("%s", (_, answer, expected, isRight) => {
  expect(isCorrectAnswer(answer, expected)).toBe(isRight);
});
