import fc from "fast-check";
import { expect, test } from "vitest";
import { startCpuTimer } from "../../../../test/cpu-time.ts";
import { askForQuestions, dropReason, isSupported, readQuestionAnswers } from "./question-answers.ts";

const pairs = [
  { question: "Who lives there?", answer: 'A cat, {"named"} Button.' },
  { question: "Why?", answer: "So." },
];
const json = JSON.stringify(pairs);

test.each([
  ["a list", json],
  ["a list over lines", JSON.stringify(pairs, null, 2)],
  ["a list in an object", `{"pairs": ${json}}`],
  ["lines", pairs.map((pair) => JSON.stringify(pair)).join("\n")],
  ["a fence and prose", `Here's "what you asked for:\n\`\`\`json\n${json}\n\`\`\`\nAnything else?`],
  ["reasoning before", `<think>[{"question": "no", "answer": "no"}]</think>${json}`],
  ["short names", pairs.map(({ question: q, answer: a }) => JSON.stringify({ q, a })).join(",")],
  ["a third pair that is cut off", `${json.slice(0, -1)},{"question": "Cut`],
  ["numbered labels", '1. Q: Who lives there?\n   A: A cat, {"named"} Button.\n\n2. Q: Why?\n   A: So.'],
  [
    "bold labels",
    '**Question 1:** Who lives there?\n**Answer:** A cat, {"named"} Button.\n\n**Question 2:** Why?\n**Answer 2:** So.',
  ],
  ["labels with numbers", 'Q1: Who lives there?\nA1: A cat, {"named"} Button.\nQ2. Why?\nA2. So.'],
] as const)("reads %s", (_, answer) => {
  expect(readQuestionAnswers(answer)).toEqual(pairs);
});

test("an answer goes on over lines, and prose gives nothing", () => {
  expect(readQuestionAnswers("Sure.\nQ: Who?\nA: One.\nTwo.")).toEqual([
    { question: "Who?", answer: "One.\nTwo." },
  ]);
  for (const text of [
    "",
    "I cannot help with that.",
    "[]",
    "{}",
    '{"question": 3, "answer": "x"}',
    "{".repeat(99),
  ])
    expect(readQuestionAnswers(text)).toEqual([]);
});

test("any answer is read, in little time", () => {
  fc.assert(fc.property(fc.string({ maxLength: 200 }), (text) => Array.isArray(readQuestionAnswers(text))));
  const spent = startCpuTimer();
  for (const part of ["{", '{"', '{"a":', "Q: ", "1. ", " ", "A \n", '{"question": "a", "answer": "b"}'])
    readQuestionAnswers(part.repeat(100_000));
  expect(spent()).toBeLessThan(10_000);
});

test("JSON of any pairs is read back", () => {
  const word = fc.string({ unit: "grapheme", minLength: 1 }).map((text) => text.trim());
  fc.assert(
    fc.property(fc.array(fc.record({ question: word, answer: word }), { minLength: 1 }), (given) => {
      expect(readQuestionAnswers(`Well: ${JSON.stringify(given)}`)).toEqual(given);
    }),
  );
});

test("a pair is supported by the words and numbers of its passage", () => {
  const passage =
    "The lighthouse was built in 1874. Children pay 2.50 coins, and its keepers paint it white.";
  const supported = (answer: string, question = "What?") => isSupported({ question, answer }, passage);
  expect(supported("It was built in 1874.")).toBe(true);
  expect(supported("The keeper painted the lighthouse white.")).toBe(true);
  expect(supported("Yes.")).toBe(true);
  expect(supported("2.50.")).toBe(true);
  expect(supported("It was built in 1875.")).toBe(false);
  expect(supported("It was 26 in 1900.", "How old was it in 1900, after 26 years?")).toBe(true);
  expect(supported("Vikings founded this harbour long before anybody wrote.")).toBe(false);
});

test("numbers are compared without the marks between their thousands", () => {
  const supported = (answer: string) =>
    isSupported({ question: "What?", answer }, "It costs 1,000 or 2.500,50.");
  expect(supported("1000.")).toBe(true);
  expect(supported("2500,50.")).toBe(true);
  expect(supported("1001.")).toBe(false);
});

test("a pair in writing without spaces is supported by the characters of its passage", () => {
  const passage = "图书馆每天上午九点开门，下午六点关门。";
  const supported = (answer: string) => isSupported({ question: "何时？", answer }, passage);
  expect(supported("图书馆上午九点开门。")).toBe(true);
  expect(supported("维京人很久以前建造了港口。")).toBe(false);
});

test("pairs are dropped where a part is empty, nothing supports them, or the question was asked", () => {
  const passage = "Dogs are welcome in the lighthouse.";
  const asked = new Set<string>();
  const reason = (question: string, answer: string) => dropReason({ question, answer }, { passage, asked });
  expect(reason("Are dogs welcome?", "Dogs are welcome.")).toBeUndefined();
  expect(reason("are dogs  welcome", "Yes, dogs are welcome.")).toBe("duplicate");
  expect(reason("", "Dogs are welcome.")).toBe("empty");
  expect(reason("May horses come in?", "Horses must remain outside.")).toBe("unsupported");
  expect(reason("May horses come in?", "Dogs are welcome.")).toBeUndefined();
});

test("a request has the passage, its section, the number of questions and more instructions", () => {
  const passage = { headings: ["Guide", "Install"], text: "Run it." };
  const [message, ...more] = askForQuestions(passage, { questions: 5, instructions: "Answer in French." });
  expect(more).toEqual([]);
  expect(message?.role).toBe("user");
  for (const part of [
    "Write 5 different",
    "Answer in French.",
    "Section: Guide > Install",
    '"""\nRun it.\n"""',
  ])
    expect(message?.content).toContain(part);
});
