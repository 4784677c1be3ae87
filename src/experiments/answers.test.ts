import { beforeAll, expect, test } from "vitest";
import { createAdapter, parseAdapterConfig } from "#adapters";
import type { Example } from "#data";
import { type BaseModel, generate, geometryOf, loadModel } from "#recipes";
import { type AnswerSettings, countCorrect, questionOf } from "./answers.ts";

let base: BaseModel;
beforeAll(async () => {
  base = await loadModel("assets/tiny-english");
});

const settings: AnswerSettings = {
  adapter: null,
  rules: "template",
  system: undefined,
  maxTokens: 6,
  rows: 3,
  compile: {},
  signal: undefined,
};

const asked = (question: string, answer: string): Example => ({
  kind: "chat",
  line: 1,
  turns: [
    { role: "user", content: question, trained: false },
    { role: "assistant", content: answer, trained: true },
  ],
});
const QUESTIONS = [
  "Hello",
  "Do you have a cat?",
  "Where is it, and how much is it for two?",
  "Who are you",
  "Why?",
];

/** What the base says to each alone. */
async function answersAlone(): Promise<readonly string[]> {
  const answers: string[] = [];
  for (const content of QUESTIONS)
    for await (const event of generate(
      base,
      { kind: "chat", messages: [{ role: "user", content }] },
      { maxTokens: 6 },
    ))
      if (event.type === "end") answers.push(event.text);
  return answers;
}

test("answers side by side are those that each prompt has alone", async () => {
  const answers = await answersAlone();
  const examples = QUESTIONS.map((question, i) => asked(question, answers[i]!.trim() || "x"));
  const expected = answers.filter((answer) => answer.trim() !== "").length;
  expect(expected).toBeGreaterThan(2);
  expect(await countCorrect(base, examples, settings)).toEqual({ correct: expected, total: 5 });
  const wrong = [asked(QUESTIONS[0]!, "Something else."), ...examples.slice(1)];
  const found = await countCorrect(base, wrong, settings);
  expect(found.correct).toBeLessThan(expected);
});

test("an adapter is part of the answer: as merged weights, and nothing at the start", async () => {
  const answers = await answersAlone();
  const examples = QUESTIONS.map((question, i) => asked(question, answers[i]!.trim() || "x"));
  const config = parseAdapterConfig({ method: "lora", rank: 2 });
  const fresh = createAdapter(config, geometryOf(base.model.config));
  const before = await countCorrect(base, examples, settings);
  expect(await countCorrect(base, examples, { ...settings, adapter: fresh })).toEqual(before);
  for (const [name, { data }] of fresh.tensors) if (name.includes("B")) data.fill(0.3);
  expect((await countCorrect(base, examples, { ...settings, adapter: fresh })).correct).toBe(0);
});

test("a question is all that stands before the last answer, as training shows it", () => {
  const example: Example = {
    kind: "chat",
    line: 1,
    turns: [
      { role: "user", content: "One?", trained: false },
      { role: "assistant", content: "Two.", trained: true },
      { role: "user", content: "Three?", trained: false },
      { role: "assistant", content: "Four.", trained: true },
    ],
  };
  const { ids, reference } = questionOf(example, { base, rules: "template", system: undefined });
  const text = base.text.template.render(
    example.turns.slice(0, 3).map(({ role, content }) => ({ role, content })),
    { addGenerationPrompt: true },
  );
  expect(ids.slice(-5)).toEqual(base.text.tokenizer.encode(text, { addSpecialTokens: false }).slice(-5));
  expect(reference).toBe("Four.");
  const plain = questionOf(
    { kind: "completion", line: 1, prompt: "The cat", completion: " sat." },
    { base, rules: "plain", system: undefined },
  );
  expect(plain.reference).toBe(" sat.");
  const bare = base.text.tokenizer.encode("The cat", { addSpecialTokens: false });
  expect(plain.ids.slice(-bare.length)).toEqual(bare);
});

test("a prompt that leaves no room for an answer is not answered", async () => {
  const long = asked("cat ".repeat(200), "x");
  expect(
    await countCorrect(base, [long], { ...settings, maxTokens: base.model.config.maxPositions - 1 }),
  ).toEqual({
    correct: 0,
    total: 1,
  });
});
