// `mos data`: what it prints, writes and refuses.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { expectRefusal, mos } from "./bad-input/run-mos.ts";

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-data-"));
});
afterEach(() => rm(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);

const FAQ = 'question,answer\n"Who, then?",She.\nWhy?,So.\nwhy,so\nWhen?,\n';

test("inspect prints formats, tokens, problems and duplicates, and its exit code says whether there are problems", async () => {
  await writeFile(at("faq.csv"), FAQ);
  const found = await mos([
    "data",
    "inspect",
    at("faq.csv"),
    "--model",
    "assets/tiny-english",
    "--max-length",
    "13",
  ]);
  expect(found).toMatchObject({ code: 1, stderr: "" });
  expect(found.stdout).toMatch(/faq\.csv +3 examples, question\n/);
  expect(found.stdout).toMatch(
    /tokens +\d+; per example \d+ to \d+, median \d+, 95% at most \d+; 3 longer than 13\n/,
  );
  expect(found.stdout).toMatch(/problems +1, 1 of them empty answers\n/);
  expect(found.stdout).toMatch(/duplicates +0 exact, 1 but for case/);
  expect(found.stdout).toMatch(/Problems:\n {2}\S+faq\.csv:5: answer is empty/);
  expect(found.stdout).toMatch(/Duplicates:\n {2}\S+faq\.csv:4 is nearly \S+faq\.csv:3\n$/);
  const json = await mos(["data", "inspect", at("faq.csv"), "--json"]);
  expect(JSON.parse(json.stdout)).toMatchObject({ examples: 3, problemCount: 1, emptyAnswers: 1 });
  const sound = await mos(["data", "inspect", "assets/quickstart/train.jsonl"]);
  expect(sound).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/224 examples, messages\n[\s\S]*problems +none/),
  });
});

test("inspect lists as many problems as it is told, and counts the rest", async () => {
  await writeFile(at("bad.jsonl"), '{"question": "a", "answer": ""}\n'.repeat(5));
  const { stdout } = await mos(["data", "inspect", at("bad.jsonl"), "--limit", "2"]);
  expect(stdout).toMatch(/bad\.jsonl:2: .*\n {2}… and 3 more \(--limit\)\n/);
});

test("convert writes conversations that train reads, and never over a file unasked", async () => {
  await writeFile(at("faq.csv"), FAQ.replace("When?,\n", ""));
  const args = ["data", "convert", at("faq.csv"), "--out", at("train.jsonl")];
  const { code, stdout } = await mos(args);
  expect(code).toBe(0);
  expect(stdout).toMatch(/written +\S+train\.jsonl: 3 examples, messages\n\nNext:\n.*train --model/);
  expect((await readFile(at("train.jsonl"), "utf8")).split("\n")[0]).toBe(
    '{"messages":[{"role":"user","content":"Who, then?"},{"role":"assistant","content":"She."}]}',
  );
  await expectRefusal(args, {
    code: 2,
    message: /train\.jsonl already exists; add --overwrite/,
    untouched: folder,
  });
  expect((await mos([...args, "--overwrite", "--json"])).stdout).toBe(
    `${JSON.stringify({ out: at("train.jsonl"), format: "messages", examples: 3 })}\n`,
  );
});

test.each([
  [["inspect", "none.jsonl"], 1, /none\.jsonl: no such file/],
  [["inspect", "train.jsonl", "--out", "b.jsonl"], 2, /--out cannot be used with mos data inspect/],
  [["convert", "train.jsonl"], 2, /--out FILE is required/],
  [
    ["convert", "train.jsonl", "--out", "b.jsonl", "--limit", "3"],
    2,
    /--limit cannot be used with mos data convert/,
  ],
  [["look", "train.jsonl"], 2, /look.*[Ee]xpected one of inspect, convert/],
  [["inspect"], 2, /missing required argument 'files'/],
] as const)("%j is refused", async (args, code, message) => {
  await expectRefusal(["data", ...args], { code, message, untouched: folder });
});
