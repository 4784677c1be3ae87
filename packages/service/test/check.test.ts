// Checks of uploaded files: off the thread that answers requests, and no longer than their client stays.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from "vitest";
import { createFileChecker } from "#worker";

type Checker = ReturnType<typeof createFileChecker>;

/** The first problem of a file. */
const firstProblem =
  (check: Checker) =>
  async (...of: Parameters<Checker>): Promise<string | undefined> =>
    (await check(...of))[0]?.message;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-check-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const limits = { running: 2, seconds: 60, megabytes: 512, idleSeconds: 60 };
const client = (signal = new AbortController().signal) => ({ tenant: "acme", signal });
const storeFile = async (content: string | Uint8Array): Promise<string> => {
  const path = join(folder, `${crypto.randomUUID()}.jsonl`);
  await writeFile(path, content);
  return path;
};
const GOOD = '{"prompt":"a","completion":" b"}\n';

test("a good file, a wrong line, files of other kinds, an empty and a missing one, one after the other", async () => {
  const check = firstProblem(createFileChecker(limits));
  expect(await check(await storeFile(GOOD), client())).toBeUndefined();
  expect(await check(await storeFile(`${GOOD}{"prompt":1}\n`), client())).toMatch(/^line 2: /);
  expect(await check(await storeFile(gzipSync(GOOD)), client())).toMatch(/^the file is compressed with gzip/);
  expect(await check(await storeFile("%PDF-1.4"), client())).toMatch(/^the file is a PDF; send its text/);
  expect(await check(await storeFile(""), client())).toMatch(/^the file holds no examples/);
  const table = await check(await storeFile("prompt,completion\na,b\n"), client());
  expect(table).toMatch(
    /^line 1:1: not valid JSON near .*; files are JSON Lines: one JSON object on each line$/,
  );
  // who uploads a file has no command line, and no name for where the server keeps it
  for (const content of ["[1]\n", "PAR1", "%PDF-1.4", "prompt\na\n", ""]) {
    const problem = await check(await storeFile(content), client());
    expect(problem).not.toMatch(/\bjq\b|\bmos \w|--\w|\.jsonl/);
  }
  await expect(check(join(folder, "none.jsonl"), client())).rejects.toThrow(/none\.jsonl/);
});

test("several wrong lines, as many as are asked for", async () => {
  const check = createFileChecker(limits);
  const path = await storeFile(`{"prompt":1}\n${GOOD}{\n[]\n`);
  expect(await check(path, { ...client(), most: 2 })).toEqual([
    { line: 1, message: expect.stringMatching(/^line 1: /) },
    { line: 3, message: expect.stringMatching(/^line 3:2: not valid JSON/) },
  ]);
  expect(await check(path, { ...client(), most: 9 })).toHaveLength(3);
});

test("a long line of tiny messages is not parsed on this thread", async () => {
  const check = firstProblem(createFileChecker(limits));
  await check(await storeFile(GOOD.repeat(5000)), client()); // one that starts the process
  const path = await storeFile(`{"messages":[${"{},".repeat(1_500_000)}{}]}\n`);
  const parse = vi.spyOn(JSON, "parse");
  onTestFinished(() => parse.mockRestore());
  expect(await check(path, client())).toMatch(/a list of at most 10000 messages/);
  expect(parse.mock.calls.filter(([text]) => text.length > 10_000)).toEqual([]);
});

test("a process that dies is no fault of the file", async () => {
  const check = createFileChecker(limits);
  const path = await storeFile(GOOD.repeat(5000));
  vi.stubEnv("NODE_OPTIONS", "--require=/nowhere/at-all.cjs");
  try {
    await expect(check(path, client())).rejects.toMatchObject({
      code: "device",
      message: "the process of the check ended: exit code 1",
    });
  } finally {
    vi.unstubAllEnvs();
  }
  expect(await check(path, client())).toEqual([]);
});

test("a check ends with its client, and one that takes too long with a word about it", async () => {
  const path = await storeFile(GOOD.repeat(500_000));
  const left = new AbortController();
  const slow = createFileChecker(limits)(path, client(left.signal));
  left.abort(new Error("left"));
  await expect(slow).rejects.toThrow(/left/);
  const short = firstProblem(createFileChecker({ ...limits, seconds: 0.05 }));
  expect(await short(path, client())).toMatch(/validating the file exceeded 0\.05 s/);
});
