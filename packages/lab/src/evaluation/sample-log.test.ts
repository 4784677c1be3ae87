import { appendFile, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Identity, openSampleLog, type Sample } from "./sample-log.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-log-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const IDENTITY: Identity = { task: "gsm8k", shots: 8, seed: 0, adapter: null, version: "1" };
const open = (identity: Identity = IDENTITY, subject = "base") =>
  openSampleLog({ folder, subject, task: "gsm8k", identity });
const path = (): string => join(folder, "base.gsm8k.jsonl");
const sample = (id: string): Sample => ({
  type: "sample",
  id,
  group: "gsm8k",
  prompt: "1 + 1?",
  answers: ["two\n"],
  verdicts: [{ extracted: "two", scores: { exact_match: 0 } }],
});

async function writeTwo(): Promise<void> {
  await using log = await open();
  expect(log.known.size).toBe(0);
  await log.write(sample("gsm8k/0"));
  await log.write(sample("gsm8k/1"));
}

test("what was written is known to the next run, which appends to it", async () => {
  await writeTwo();
  {
    await using log = await open();
    expect([...log.known]).toEqual([
      ["gsm8k/0", sample("gsm8k/0")],
      ["gsm8k/1", sample("gsm8k/1")],
    ]);
    await log.write(sample("gsm8k/2"));
  }
  const lines = (await readFile(path(), "utf8")).trimEnd().split("\n");
  expect(lines.map((line) => JSON.parse(line).type)).toEqual(["run", "sample", "sample", "sample"]);
  expect(JSON.parse(lines[0]!)).toEqual({ type: "run", identity: IDENTITY });
});

test("an incomplete last line is dropped, wherever it was cut", async () => {
  await writeTwo();
  const whole = await readFile(path());
  const ends = [...whole.keys()].filter((i) => whole[i] === 10).map((i) => i + 1);
  for (const size of [ends[0]!, ends[0]! + 1, ends[1]! - 1, ends[1]!, whole.length - 1]) {
    await writeFile(path(), whole.subarray(0, size));
    {
      await using log = await open();
      expect(log.known.size, `${size} bytes`).toBe(Math.max(0, ends.filter((end) => end <= size).length - 1));
      for (const id of ["gsm8k/0", "gsm8k/1"]) if (!log.known.has(id)) await log.write(sample(id));
    }
    expect((await readFile(path())).equals(whole), `${size} bytes`).toBe(true);
  }
});

test.each([
  ["shots", { ...IDENTITY, shots: 4 }, /shots was 8, now 4/],
  ["adapter", { ...IDENTITY, adapter: "sha256:1" }, /adapter was not set, now sha256:1/],
  ["version", { ...IDENTITY, version: "2" }, /version was 1, now 2/],
  ["more", { ...IDENTITY, more: true }, /more was not set, now true/],
])(
  "samples of other settings are refused, and the setting is named: %s",
  async (_name, identity, message) => {
    await writeTwo();
    const before = await readFile(path(), "utf8");
    const error = { code: "bad_option", message: expect.stringMatching(message) };
    await expect(open(identity)).rejects.toMatchObject(error);
    expect(await readFile(path(), "utf8")).toBe(before);
  },
);

test("a file that is not a log is refused and left alone", async () => {
  for (const content of ['{"question": "1 + 1?"}\n', "[]\n", '{"type":"run"}\n', "a list of mine", ""]) {
    await writeFile(path(), content);
    const error = {
      code: "bad_data",
      message: expect.stringMatching(/base\.gsm8k\.jsonl is not an answer log/),
    };
    await expect(open()).rejects.toMatchObject(error);
    expect(await readFile(path(), "utf8")).toBe(content);
  }
});

test("a line that is not an answer is named", async () => {
  await writeTwo();
  await appendFile(path(), '{"type":"sample","id":3}\n');
  const error = { code: "bad_data", message: expect.stringMatching(/base\.gsm8k\.jsonl:4 is not an answer/) };
  await expect(open()).rejects.toMatchObject(error);
});

test("a subject's name that cannot be a file's name gets one", async () => {
  {
    await using _log = await open(IDENTITY, "../a b");
  }
  expect(await readdir(folder)).toEqual(["..%2Fa%20b.gsm8k.jsonl"]);
});
