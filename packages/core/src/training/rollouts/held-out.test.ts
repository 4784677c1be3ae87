import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { type DataKind, readDataset } from "#data";
import { loadText } from "#models";
import type { LoadedText } from "#text";
import type { UnfinishedEvaluation } from "../checkpoint.ts";
import { NOTHING_EVALUATED } from "../validation.ts";
import { evaluateAnswers, type HeldOutOptions, heldOutPrompts } from "./held-out.ts";
import { gradeByRewards, type RewardGrader } from "./rewards.ts";

let text: LoadedText;
beforeAll(async () => {
  text = await loadText("assets/tiny-english");
});

async function promptsOf(kind: DataKind, lines: readonly object[], over = {}) {
  const { examples } = await readDataset(lines, { kind, keepsFields: true });
  const found = heldOutPrompts(examples, { ...text, maxLength: 128, limit: 9, ...over });
  return found.map(({ ids, item }) => ({ text: text.tokenizer.decode([...ids]), item }));
}

const turn = (role: string, content: string) => ({ role, content });
const [hello, hi, why, so] = [
  turn("user", "Hello"),
  turn("assistant", "Hi"),
  turn("user", "Why?"),
  turn("assistant", "So."),
];

test("an example is asked up to its last answer, which is the reference", async () => {
  const line = { messages: [hello, hi, why, so], topic: "reasons" };
  const [found] = await promptsOf("examples", [line]);
  const asked = text.template.render([hello, hi, why] as never, { addGenerationPrompt: true });
  expect(found).toEqual({ text: asked, item: { ...line, reference: "So." } });
  const own = await promptsOf("examples", [{ ...line, reference: "another" }]);
  expect(own[0]?.item["reference"]).toBe("another");
  const plain = await promptsOf("examples", [{ prompt: "1, 2,", completion: " 3" }], {
    promptFormat: "plain",
  });
  expect(plain).toEqual([{ text: "1, 2,", item: { prompt: "1, 2,", completion: " 3", reference: " 3" } }]);
});

test("pairs, rated answers and prompts are asked by their prompts; what has none or no room is left out", async () => {
  const pair = { prompt: [hello], chosen: [hi], rejected: [turn("assistant", "Who?")] };
  const [first] = await promptsOf("pairs", [pair]);
  expect(first?.text).toBe(text.template.render([hello] as never, { addGenerationPrompt: true }));
  expect(first?.item).toEqual({ ...pair, reference: "Hi" });
  const rated = [true, false].map((label) => ({ prompt: [hello], completion: [hi], label }));
  const items = (await promptsOf("rated", rated)).map(({ item }) => item["reference"]);
  expect(items).toEqual(["Hi", undefined]);
  const [prompt] = await promptsOf("prompts", [{ messages: [hello], answer: "Hi" }]);
  expect(prompt).toEqual({ text: first?.text, item: { answer: "Hi" } });
  const long = { messages: [turn("user", "why ".repeat(200)), so] };
  const lines = [long, { messages: [hello, hi] }, { messages: [why, so] }];
  expect(await promptsOf("examples", lines, { limit: 1 })).toHaveLength(1);
  expect(await promptsOf("examples", [long])).toEqual([]);
  expect(await promptsOf("examples", [{ text: "All of it" }])).toEqual([]);
});

test("a table keeps the columns that no format has, where they are asked for", async () => {
  const folder = await mkdtemp(join(tmpdir(), "mos-held-out-"));
  try {
    const path = join(folder, "data.csv");
    await writeFile(path, "question,answer,level\nHow much?,Four,easy\n");
    const fieldsOf = async (keepsFields: boolean) =>
      (await readDataset(path, { keepsFields })).examples.map(({ fields }) => fields);
    expect(await fieldsOf(true)).toEqual([{ question: "How much?", answer: "Four", level: "easy" }]);
    expect(await fieldsOf(false)).toEqual([undefined]);
  } finally {
    await rm(folder, { recursive: true });
  }
});

const byRewards = (grade: RewardGrader["grade"]) =>
  gradeByRewards({ grade, [Symbol.asyncDispose]: async () => undefined }, "group");

const options = (over: Partial<HeldOutOptions>): HeldOutOptions => ({
  prompts: [1, 2, 3].map((line) => ({ line, ids: [5, 6, 7], item: { line } })),
  ...{
    batchSize: 2,
    groupSize: 1,
    maxCompletionLength: 8,
    longest: 6,
    temperature: 0,
    seed: 0,
    now: () => 0,
  },
  engine: {
    async *sample(requests) {
      for (const [i, { prompt, maxTokens }] of requests.entries()) {
        const tokens = prompt.slice(0, maxTokens);
        yield [i, { tokens, logprobs: new Float32Array(3), text: "…", hasEnded: true }] as const;
      }
    },
  },
  grader: byRewards(async ({ line }) => ({ reward: Number(line), scores: {} })),
  ...over,
});

test("parts add up to the mean reward, from whatever part they go on", async () => {
  const sums: UnfinishedEvaluation[] = [];
  for await (const one of evaluateAnswers(options({}), NOTHING_EVALUATED)) sums.push(one);
  expect(sums.map(({ batches }) => batches)).toEqual([1, 2]);
  expect(sums.at(-1)?.metrics).toMatchObject({
    reward: { sum: 6, count: 3 },
    frac_ungraded: { sum: 0, count: 3 },
    // there is no room for more
    "completions/mean_length": { sum: 9, count: 3 },
  });
  expect(sums.at(-1)?.metrics).not.toHaveProperty("reward_std");
  for await (const rest of evaluateAnswers(options({}), sums[0]!)) expect(rest).toEqual(sums[1]);
});

test("where no answer can be graded, the reason is told rather than a loss", async () => {
  const grader = byRewards(async () => ({
    ...{ reward: Number.NaN, scores: {} },
    problem: "python cannot run: it is away",
  }));
  const all = async () => {
    for await (const _ of evaluateAnswers(options({ grader }), NOTHING_EVALUATED));
  };
  await expect(all()).rejects.toMatchObject({
    code: "bad_option",
    message: expect.stringMatching(
      /none of the answers to 3 held-out prompts .*: python cannot run: it is away/,
    ),
  });
});
