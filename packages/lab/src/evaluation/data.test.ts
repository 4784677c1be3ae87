import { cp, mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, expect, test } from "vitest";
import { readHumanEval } from "./benchmarks/humaneval.ts";
import { BENCHMARK_NAMES, benchmarks } from "./benchmarks/index.ts";
import { readMmlu } from "./benchmarks/mmlu.ts";
import { readTydiqa } from "./benchmarks/tydiqa.ts";
import { assertCounts } from "./data.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "benchmarks-"));
  await cp("test/fixtures/benchmarks", folder, { recursive: true });
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function put(path: string, content: string | Uint8Array): Promise<void> {
  await mkdir(dirname(join(folder, path)), { recursive: true });
  await writeFile(join(folder, path), content);
}
const failure = (code: string, message: RegExp) =>
  expect.objectContaining({ code, message: expect.stringMatching(message) });
const mmluLine = (more: object) =>
  `${JSON.stringify({ subject: "law", question: "q", choices: ["a", "b", "c", "d"], answer: 0, ...more })}\n`;

test.each([
  [
    "mmlu",
    "mmlu/test.jsonl",
    mmluLine({}) + mmluLine({ answer: 4 }),
    /test\.jsonl:2: field "answer" is 4; expected at most 3/,
  ],
  ["mmlu", "mmlu/test.jsonl", mmluLine({ choices: ["a", "b", "c"] }), /test\.jsonl:1: field "choices/],
  ["mmlu", "mmlu/test.jsonl", mmluLine({ subject: "../law" }), /test\.jsonl:1: .*subject in lower case/],
  ["mmlu", "mmlu/test.jsonl", `${mmluLine({})}{"subject": \n`, /test\.jsonl:2:\d+: not valid JSON/],
  ["mmlu", "mmlu/test.jsonl", "\n", /the file holds no questions/],
  [
    "mmlu",
    "mmlu/dev.jsonl",
    mmluLine({ question: 7 }),
    /dev\.jsonl:1: field "question" is 7; expected a string/,
  ],
  [
    "bbh",
    "bbh/tasks/apples.json",
    '{"examples": [{"input": "a"}]}',
    /apples\.json: field "examples\.0\.target" is missing/,
  ],
  ["bbh", "bbh/tasks/apples.json", '{"examples": []}', /apples\.json: .*at least 1/],
  [
    "bbh",
    "bbh/cot-prompts/apples.txt",
    "Q: a\nA: b\n",
    /apples\.txt: expected a line of text, a line of dashes and three examples.*found 0 examples/,
  ],
  ["bbh", "bbh/cot-prompts/apples.txt", "x\n----\nCount.\n\nQ: a\nA: b\n\nQ: c\nA: d", /found 2 examples/],
  ["gsm8k", "gsm8k/test.jsonl", '{"question": "q", "answer": "5"}', /test\.jsonl:1: .*####/],
  ["facts", "facts/facts.jsonl", '{"question": "q", "answer": "5"}', /facts\.jsonl:1: .*reworded/],
  [
    "tydiqa",
    "tydiqa/english-dev.json",
    '{"data": [{"paragraphs": [{"context": "c", "qas": [{"id": "english-1", "question": "q", "answers": []}]}]}]}',
    /english-dev\.json: field "data\.0\.paragraphs\.0\.qas\.0\.answers".*at least 1/,
  ],
  ["tydiqa", "tydiqa/english-train.json", "[]", /english-train\.json: this is a list; expected an object/],
  [
    "humaneval",
    "humaneval/HumanEval.jsonl",
    '{"task_id": "HumanEval/0"}',
    /HumanEval\.jsonl:1: field "prompt" is missing/,
  ],
  [
    "humaneval",
    "humaneval/HumanEval.jsonl.gz",
    "not packed",
    /HumanEval\.jsonl\.gz: this is not a gzip file/,
  ],
  [
    "humaneval",
    "humaneval/HumanEval.jsonl.gz",
    gzipSync('\n{"task_id": 1}\n'),
    /HumanEval\.jsonl\.gz:2: field "task_id" is 1/,
  ],
] as const)("%s: a broken %s is reported with its file and line", async (task, path, content, message) => {
  await put(path, content);
  await expect(benchmarks[task].read(folder)).rejects.toThrow(failure("bad_data", message));
});

test.each([
  ["mmlu", "mmlu/test.jsonl", /mmlu\/test\.jsonl: no such file.*--data/],
  ["bbh", "bbh/tasks", /bbh\/tasks: no tasks found; .*--data/],
  ["bbh", "bbh/cot-prompts/seasons.txt", /seasons\.txt: no such file/],
  ["gsm8k", "gsm8k", /gsm8k\/test\.jsonl: no such file/],
  ["facts", "facts", /facts\/facts\.jsonl: no such file/],
  ["tydiqa", "tydiqa", /tydiqa: no questions found; .*tydiqa\/english-dev\.json/],
  ["humaneval", "humaneval", /HumanEval\.jsonl\.gz: no such file/],
  ["bfcl", "bfcl_eval/data/possible_answer", /BFCL_v4_simple_python\.json: no such file/],
  ["bfcl_free", "bfcl_eval", /no questions of BFCL found; .*BFCL_v4_simple_python\.json/],
] as const)("%s without %s is not found", async (task, path, message) => {
  await rm(join(folder, path), { recursive: true });
  await expect(benchmarks[task].read(folder)).rejects.toThrow(failure("not_found", message));
});

test.each(BENCHMARK_NAMES)("%s: the digest is of what was read, and of nothing else", async (task) => {
  const before = await benchmarks[task].read(folder);
  expect(before.digest).toMatch(/^[0-9a-f]{64}$/);
  await put(`${task}/LICENSE`, "more");
  expect((await benchmarks[task].read(folder)).digest).toBe(before.digest);
  const [file, word] = {
    mmlu: ["mmlu/dev.jsonl", "wet"],
    bbh: ["bbh/cot-prompts/apples.txt", "Kim"],
    gsm8k: ["gsm8k/test.jsonl", "house"],
    facts: ["facts/facts.jsonl", "Bakery"],
    tydiqa: ["tydiqa/swahili-train.json", "Paka"],
    humaneval: ["humaneval/HumanEval.jsonl", "Twice"],
    bfcl: ["bfcl_eval/data/BFCL_v4_simple_python.json", "Oslo"],
    bfcl_free: ["bfcl_eval/data/possible_answer/BFCL_v4_simple_python.json", "Norway"],
  }[task] as [string, string];
  await put(file, (await readFile(join(folder, file), "utf8")).replace(word, "other"));
  expect((await benchmarks[task].read(folder)).digest).not.toBe(before.digest);
});

test("the layout of a file does not change the digest: rows do", async () => {
  const { digest } = await benchmarks.humaneval.read(folder);
  const plain = join(folder, "humaneval/HumanEval.jsonl");
  const rows = (await readFile(plain, "utf8"))
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  const turned = rows.map((row) => Object.fromEntries([...Object.entries(row), ["more", 1]].reverse()));
  await put(
    "humaneval/HumanEval.jsonl.gz",
    gzipSync(turned.map((row) => `${JSON.stringify(row)}\r\n\n`).join("")),
  );
  await rename(plain, `${plain}.old`);
  expect((await readHumanEval(folder)).digest).toBe(digest);
});

test("counts differ from the whole benchmark's: what is fetched is refused, a folder may be a part", async () => {
  const counts = Object.fromEntries(
    await Promise.all(
      BENCHMARK_NAMES.map(async (task) => [task, (await benchmarks[task].read(folder)).counts]),
    ),
  );
  const bfclCounts = [
    { what: "questions of BFCL's simple_python", found: 2, expected: 400 },
    { what: "questions of BFCL's multiple", found: 0, expected: 200 },
    { what: "questions of BFCL's parallel", found: 0, expected: 200 },
    { what: "questions of BFCL's parallel_multiple", found: 1, expected: 200 },
  ];
  expect(counts).toEqual({
    mmlu: [
      { what: "questions of MMLU", found: 3, expected: 14_042 },
      { what: "subjects of MMLU", found: 2, expected: 57 },
    ],
    bbh: [
      { what: "questions of BBH", found: 3, expected: 6_511 },
      { what: "tasks of BBH", found: 2, expected: 27 },
    ],
    gsm8k: [{ what: "questions of GSM8K", found: 3, expected: 1_319 }],
    facts: [],
    tydiqa: [
      { what: "questions of TyDi QA", found: 3, expected: 5_077 },
      { what: "languages of TyDi QA", found: 3, expected: 9 },
    ],
    humaneval: [{ what: "problems of HumanEval", found: 2, expected: 164 }],
    ...{ bfcl: bfclCounts, bfcl_free: bfclCounts },
  });
  expect(() => assertCounts([{ what: "apples", found: 2, expected: 2 }], "org/name")).not.toThrow();
  expect(() => assertCounts([{ what: "apples", found: 3, expected: 2 }], "org/name")).toThrow(
    failure("bad_data", /org\/name: 3 apples instead of 2/),
  );
});

test("questions of MMLU come by subject and keep their outer blanks", async () => {
  const { test: rows } = await readMmlu(folder);
  expect(rows.map(({ subject, question }) => [subject, question])).toEqual([
    ["abstract_algebra", "How many sides\nhas a square?"],
    ["world_religions", " Which day follows Monday? "],
    ["world_religions", "Which is a colour?"],
  ]);
  expect(rows[1]?.choices).toEqual(["Sunday", "None", " Tuesday", "Friday"]);
});

test("two questions with one id are refused", async () => {
  const file = join(folder, "tydiqa/english-dev.json");
  await put("tydiqa/finnish-dev.json", await readFile(file));
  await expect(readTydiqa(folder)).rejects.toThrow(
    failure("bad_data", /the id english-1-0 is used by two questions/),
  );
});

test("a packed file that would fill the memory is refused", { tags: "thorough" }, async () => {
  await put("humaneval/HumanEval.jsonl.gz", gzipSync(Buffer.alloc(300 << 20, " ")));
  await expect(readHumanEval(folder)).rejects.toThrow(failure("bad_data", /gzip file of at most 256 MiB/));
});
