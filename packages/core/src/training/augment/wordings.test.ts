import fc from "fast-check";
import { expect, test } from "vitest";
import { questionIndex } from "./question-index.ts";
import { otherWordings } from "./wordings.ts";

const lessons = [
  { question: "What does the blinking blue light mean?", answer: "The lid is open." },
  { question: "What does the steady red light mean?", answer: "It has boiled dry." },
  { question: "What does error E4 mean?", answer: "The sensor is broken." },
  { question: "How much does delivery cost?", answer: "It costs 4.90 euros." },
];

test("a wording asks the question with which it shares rare words, and no other", () => {
  const asks = questionIndex(lessons);
  expect(asks("blue light", 0)).toBe(true);
  expect(asks("red light", 0)).toBe(false);
  expect(asks("what does the light mean?", 0)).toBe(false);
  expect(asks("delivery costs", 3)).toBe(true);
});

test("wordings are many, ask their own question, and keep codes", async () => {
  const asks = questionIndex(lessons);
  const made = await otherWordings(lessons, { count: 20, seed: 1 });
  for (const [i, wordings] of made.entries()) {
    expect(wordings).toHaveLength(20);
    expect(new Set(wordings).size).toBeGreaterThan(4);
    for (const one of wordings) expect(one === lessons[i]?.question || asks(one, i)).toBe(true);
  }
  const words = lessons.flatMap(({ question }) => question.toLowerCase().match(/\w+/g) ?? []);
  const slips = made
    .flat()
    .flatMap((one) => (one.toLowerCase().match(/\w+/g) ?? []).filter((w) => !words.includes(w)));
  expect(slips.length).toBeGreaterThan(0);
});

test("the same seed gives the same wordings, another one others", async () => {
  const made = (seed: number) => otherWordings(lessons, { count: 5, seed });
  expect(await made(3)).toEqual(await made(3));
  expect(await made(3)).not.toEqual(await made(4));
});

test("negations and numbers stay, whatever the question", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.nat(1000),
      fc.array(fc.constantFrom("alpha", "beta", "gamma", "delta"), { minLength: 3 }),
      async (seed, words) => {
        const question = `${words.join(" ")} not 12 omega`;
        const [made = []] = await otherWordings(
          [
            { question, answer: "" },
            { question: "else", answer: "" },
          ],
          { count: 3, seed },
        );
        for (const one of made) expect(one).toMatch(/\bnot\b.*\b12\b/i);
      },
    ),
  );
});

test("questions without words in common with others stay as they are where nothing tells them apart", async () => {
  const twins = [
    { question: "What is it?", answer: "one" },
    { question: "What is it?", answer: "two" },
  ];
  expect(await otherWordings(twins, { count: 2, seed: 1 })).toEqual([
    ["What is it?", "What is it?"],
    ["What is it?", "What is it?"],
  ]);
});

test("thousands of questions leave the thread to others, and end with the signal", async () => {
  const many = Array.from({ length: 2000 }, (_, i) => ({ question: `What is number ${i}?`, answer: `${i}` }));
  const stopping = new AbortController();
  const made = otherWordings(many, { count: 3, seed: 1, signal: stopping.signal });
  setTimeout(() => stopping.abort(), 1);
  await expect(made).rejects.toMatchObject({ code: "cancelled" });
});
