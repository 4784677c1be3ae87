import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { expectRefusal, jsonLines, mos } from "../../../mos/test/bad-input/run-mos.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-score-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** A file of these lines; what is not text is written as JSON. */
async function writeLines(...lines: readonly unknown[]): Promise<string> {
  const path = join(folder, "cases.jsonl");
  const texts = lines.map((line) => (typeof line === "string" ? line : JSON.stringify(line)));
  await writeFile(path, `${texts.join("\n")}\n`);
  return path;
}

test("every case becomes a line, in order; the mean goes to stderr", async () => {
  const file = await writeLines(
    { prediction: "So the answer is 1,234.", references: "1234" },
    "",
    { prediction: "no number", references: ["18"], id: "more fields are left alone" },
    { prediction: "17 or 18", references: ["17", "18"] },
  );
  const ended = await mos(["score", "--task", "gsm8k", "--file", file]);
  expect(ended).toMatchObject({
    code: 0,
    stderr: "gsm8k by the rules of open-instruct: mean 0.6667 ± 0.33 of 3 cases\n",
  });
  expect(jsonLines(ended.stdout)).toEqual([
    { extracted: "1234", score: 1 },
    { extracted: "no number", score: 0 },
    { extracted: "18", score: 1 },
  ]);
});

test("of several metrics the first is the score, and each has a field", async () => {
  const file = await writeLines({ prediction: "The answer is 18.\nOr 19", references: "19" });
  const harness = await mos(["score", "--task", "gsm8k", "--rules", "lm-eval", "--file", file]);
  expect(jsonLines(harness.stdout)).toEqual([
    { extracted: "18", score: 0, "strict-match": 0, "flexible-extract": 1 },
  ]);
  const answers = await writeLines({ prediction: " the old city\n", references: ["city", "Old"] });
  const squad = await mos(["score", "--task", "tydiqa", "--file", answers, "--json"]);
  const f1 = 100 * (2 / 3);
  expect(jsonLines(squad.stdout)).toEqual([{ extracted: "the old city", score: f1, f1, exact_match: 0 }]);
  expect(jsonLines(squad.stderr)).toEqual([
    { task: "tydiqa", rules: "open-instruct", cases: 1, mean: f1, error: null },
  ]);
});

test("the scores go to a file on request", async () => {
  const file = await writeLines({ prediction: " B. because", references: "B" });
  const out = join(folder, "marks.jsonl");
  const ended = await mos(["score", "--task", "mmlu", "--file", file, "--out", out]);
  expect(ended).toMatchObject({ code: 0, stdout: "" });
  expect(await readFile(out, "utf8")).toBe('{"extracted":"B","score":1}\n');
  await rm(out);
  const deep = join(folder, "new", "marks.jsonl");
  expect(await mos(["score", "--task", "mmlu", "--file", file, "--out", deep])).toMatchObject({ code: 0 });
  expect(await readFile(deep, "utf8")).toBe('{"extracted":"B","score":1}\n');
  await rm(join(folder, "new"), { recursive: true });
});

test("the cases are not written over", async () => {
  const file = await writeLines({ prediction: "B", references: "B" });
  const message = /--out .*cases\.jsonl would overwrite the cases; choose another/;
  await expectRefusal(["score", "--task", "mmlu", "--file", file, "--out", file], {
    code: 2,
    message,
    untouched: folder,
  });
});

const good = { prediction: "B", references: "B" };
test.each<readonly [name: string, lines: readonly unknown[], message: RegExp]>([
  ["no JSON", [good, '{"prediction": '], /cases\.jsonl:2:\d+: not valid JSON/],
  ["no object", [good, "", "[1]"], /cases\.jsonl:3: this is a list; expected an object/],
  [
    "no prediction",
    [{ references: "B" }],
    /cases\.jsonl:1: field "prediction" is missing; expected a string/,
  ],
  ["a number", [good, { prediction: 3, references: "B" }], /:2: field "prediction" is 3; expected a string/],
  ["no references", [{ prediction: "B" }], /:1: field "references" is missing; expected a string or a list/],
  [
    "an empty list",
    [{ prediction: "B", references: [] }],
    /:1: field "references" is a list; expected at least 1/,
  ],
  ["other references", [{ prediction: "B", references: [1] }], /:1: field "references/],
  [
    "a choice that is none",
    [{ prediction: "B", references: ["(B)"] }],
    /:1: field "references.*one of A, B, C, D/,
  ],
  ["nothing", [""], /cases\.jsonl: the file holds no cases; write one per line/],
])("a broken line is refused before anything is scored: %s", async (_name, lines, message) => {
  const file = await writeLines(...lines);
  await expectRefusal(["score", "--task", "mmlu", "--file", file], { code: 1, message, untouched: folder });
});

test("a Python that is not there", async () => {
  const references = ["def one():\n", "def check(f):\n    pass\n", "one"];
  const file = await writeLines({ prediction: "    return 1", references });
  await expectRefusal(["score", "--task", "humaneval", "--file", file, "--python", "/no/python"], {
    code: 1,
    message: /\/no\/python is not an executable file/,
    untouched: folder,
  });
});

test("HumanEval's references are three", async () => {
  const file = await writeLines({ prediction: "    return 1", references: "def f():\n" });
  await expectRefusal(["score", "--task", "humaneval", "--file", file], {
    code: 1,
    message: /cases\.jsonl:1: field "references" is "def f\(\):\\n"; expected a list/,
    untouched: folder,
  });
});

test("options that cannot be used", async () => {
  const file = await writeLines(good);
  const cases = [
    [
      ["--task", "mmul", "--file", file],
      2,
      /'--task <name>' argument 'mmul' is invalid\. Expected one of mmlu/,
    ],
    [["--file", file], 2, /required option '--task <name>' not specified/],
    [["--task", "mmlu"], 2, /required option '--file <file>' not specified/],
    [["--task", "bbh", "--rules", "mine", "--file", file], 2, /Expected one of open-instruct, lm-eval/],
    [["--task", "bbh", "--file", join(folder, "none.jsonl")], 1, /none\.jsonl/],
    // reported before the cases are read: these cannot be
    [["--task", "bbh", "--file", "none", "--out", folder], 2, /is a folder; name a file/],
  ] as const;
  for (const [args, code, message] of cases)
    await expectRefusal(["score", ...args], { code, message, untouched: folder });
  expect(await readdir(folder)).toEqual(["cases.jsonl"]);
});
