import { appendFile, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { MosError } from "#common";
import { readDataset } from "./dataset.ts";
import type { SourcedPassage } from "./documents.ts";
import type { ChatClient } from "./endpoint.ts";
import { type GenerateExamplesOptions, generateExamples, planGeneration } from "./generate.ts";

let folder = "";
let out = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-generate-"));
  out = join(folder, "train.jsonl");
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const passages: readonly SourcedPassage[] = Array.from({ length: 12 }, (_, i) => ({
  source: "guide.md",
  line: i + 1,
  headings: ["Guide"],
  text: `Room ${i} holds ${i * 10} lamps.`,
}));
const passageIn = (content: string): string => /"""\n(.*)\n"""/s.exec(content)?.[1] ?? "";
const answerFor = (passage: string): string =>
  JSON.stringify([{ question: `What holds lamps? ${passage.split(" ")[1]}`, answer: passage }]);

/** A teacher that answers after some turns of the event loop, and keeps what it was asked. */
function makeTeacher(reply: (passage: string, count: number) => string = answerFor) {
  const asked: string[] = [];
  const teacher: ChatClient = async ({ messages }, signal) => {
    const passage = passageIn(messages[0]?.content ?? "");
    asked.push(passage);
    const count = asked.length;
    await new Promise((resolve) => setTimeout(resolve, (count * 7) % 5));
    if (signal?.aborted) throw new MosError("cancelled", "stopped");
    return {
      choices: [{ message: { content: reply(passage, count) } }],
      usage: { prompt_tokens: 10, completion_tokens: 5 },
    };
  };
  return { teacher, asked };
}
const options = (
  teacher: ChatClient,
  more: Partial<GenerateExamplesOptions> = {},
): GenerateExamplesOptions => ({
  out,
  teacher,
  teacherName: "teacher",
  questions: 1,
  maxTokens: 100,
  concurrency: 3,
  ...more,
});
async function generate(given: GenerateExamplesOptions, about = passages) {
  const events = [];
  for await (const event of generateExamples(about, given)) events.push(event);
  return events;
}

test("writes what train reads, in the order of the passages, with sources", async () => {
  const { teacher, asked } = makeTeacher();
  const events = await generate(options(teacher));
  expect(asked).toHaveLength(12);
  expect(events.filter(({ type }) => type === "passage")).toHaveLength(12);
  expect(events.at(-1)).toEqual({
    type: "finish",
    out,
    examples: 12,
    dropped: { empty: 0, unsupported: 0, duplicate: 0 },
    unread: 0,
    promptTokens: 120,
    completionTokens: 60,
  });
  const lines = (await readFile(out, "utf8"))
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(lines.map(({ source }) => source)).toEqual(passages.map(({ line }) => `guide.md:${line}`));
  expect(lines[3].messages).toEqual([
    { role: "user", content: "What holds lamps? 3" },
    { role: "assistant", content: "Room 3 holds 30 lamps." },
  ]);
  expect((await readDataset(out)).examples).toHaveLength(12);
  expect(await readdir(folder)).toEqual(["train.jsonl"]);
});

test("goes on after a failure, and asks for no passage twice that was answered", async () => {
  const failing = makeTeacher((passage, count) => {
    if (count === 7) throw new MosError("network", "the teacher answered 500");
    return answerFor(passage);
  });
  await expect(generate(options(failing.teacher))).rejects.toThrow("answered 500");
  const kept = (await readFile(`${out}.progress/answers.jsonl`, "utf8")).trimEnd().split("\n");
  expect(kept.length).toBeGreaterThan(3);
  expect(await readdir(folder)).toEqual(["train.jsonl.progress"]);
  const second = makeTeacher();
  const plan = await planGeneration(passages, options(second.teacher));
  expect(plan).toMatchObject({ passages: 12, done: kept.length, requests: 12 - kept.length });
  expect(plan.maxCompletionTokens).toBe(100 * plan.requests);
  expect(plan.promptTokens).toBeGreaterThan(100 * plan.requests);
  await generate(options(second.teacher));
  expect(second.asked).toHaveLength(12 - kept.length);
  expect(second.asked.filter((passage) => kept.some((line) => line.includes(passage)))).toEqual([]);
  const whole = await readFile(out);
  await generate(options(makeTeacher().teacher, { overwrite: true, concurrency: 1 }));
  expect(await readFile(out)).toEqual(whole);
});

test("a line that a kill has cut off is asked for again", async () => {
  const failing = makeTeacher((passage, count) => {
    if (count === 5) throw new MosError("network", "gone");
    return answerFor(passage);
  });
  await expect(generate(options(failing.teacher, { concurrency: 1 }))).rejects.toThrow("gone");
  await appendFile(`${out}.progress/answers.jsonl`, '{"passage":"abc","te');
  const { teacher, asked } = makeTeacher();
  await generate(options(teacher));
  expect(asked).toHaveLength(8);
  expect((await readDataset(out)).examples).toHaveLength(12);
});

test("other questions and another teacher are other requests", async () => {
  const failing = makeTeacher((passage, count) => {
    if (count === 12) throw new MosError("network", "gone");
    return answerFor(passage);
  });
  await expect(generate(options(failing.teacher, { concurrency: 1 }))).rejects.toThrow("gone");
  const done = async (more: Partial<GenerateExamplesOptions>) =>
    (await planGeneration(passages, options(failing.teacher, more))).done;
  expect(await done({})).toBe(11);
  for (const more of [{ questions: 2 }, { teacherName: "other" }, { instructions: "In French." }])
    expect(await done(more)).toBe(0);
});

test("counts what it drops and what cannot be read", async () => {
  const { teacher } = makeTeacher((passage, count) =>
    count === 1
      ? "I would rather not."
      : JSON.stringify([
          { question: "What holds lamps?", answer: passage },
          { question: "", answer: passage },
          { question: `Who wrote it? ${passage}`, answer: "Shakespeare certainly wrote everything." },
        ]),
  );
  const finish = (await generate(options(teacher, { concurrency: 1 }))).at(-1);
  expect(finish).toMatchObject({
    examples: 1,
    dropped: { empty: 11, unsupported: 11, duplicate: 10 },
    unread: 1,
  });
});

test("equal passages are asked for once", async () => {
  const { teacher, asked } = makeTeacher();
  await generate(options(teacher), [...passages, ...passages]);
  expect(asked).toHaveLength(12);
});

test("keeps all answers where none is of use", async () => {
  const { teacher } = makeTeacher(() => "No.");
  await expect(generate(options(teacher))).rejects.toThrow(
    /of 12 answers of the teacher 12 could not be read/,
  );
  expect(await readdir(folder)).toEqual(["train.jsonl.progress"]);
});

test("stops at the signal, and keeps what it has", async () => {
  const stop = new AbortController();
  const { teacher, asked } = makeTeacher((passage, count) => {
    if (count === 4) stop.abort();
    return answerFor(passage);
  });
  await expect(generate(options(teacher, { signal: stop.signal, concurrency: 2 }))).rejects.toMatchObject({
    code: "cancelled",
  });
  expect(asked.length).toBeLessThan(7);
  await generate(options(makeTeacher().teacher));
  expect((await readDataset(out)).examples).toHaveLength(12);
});

test("two runs do not write one output, and none is replaced unasked", async () => {
  const { teacher } = makeTeacher();
  const first = generateExamples(passages, options(teacher));
  await first.next();
  await expect(generate(options(teacher))).rejects.toThrow(/train\.jsonl\.progress is in use/);
  await first.return();
  await writeFile(out, "mine");
  await expect(generate(options(teacher))).rejects.toThrow(/already exists; add --overwrite/);
  expect(await readFile(out, "utf8")).toBe("mine");
});

test("progress that another program has changed is refused", async () => {
  const { teacher } = makeTeacher(() => {
    throw new MosError("network", "gone");
  });
  await expect(generate(options(teacher))).rejects.toThrow("gone");
  await writeFile(`${out}.progress/answers.jsonl`, '{"passage": 3}\n');
  await expect(generate(options(teacher))).rejects.toThrow(/answers\.jsonl:1: field "passage" is 3/);
});

test("the titles above a passage support its answers, too", async () => {
  const [first] = passages;
  const passage = { ...(first as SourcedPassage), headings: ["Opening hours in December 2031"] };
  const pair = { question: "When do the lamps of room 0 burn?", answer: "December opening hours, 2031." };
  const { teacher } = makeTeacher(() => JSON.stringify(pair));
  for await (const event of generateExamples([passage], options(teacher)))
    if (event.type === "finish") expect(event).toMatchObject({ examples: 1 });
});
