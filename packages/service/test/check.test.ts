// Checks of uploaded files: off the thread that answers requests, and no longer than their client stays.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createFileChecker } from "#worker";

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
  const check = createFileChecker(limits);
  expect(await check(await storeFile(GOOD), client())).toBeUndefined();
  expect(await check(await storeFile(`${GOOD}{"prompt":1}\n`), client())).toMatch(/^line 2: /);
  expect(await check(await storeFile(gzipSync(GOOD)), client())).toMatch(/^the file is compressed with gzip/);
  expect(await check(await storeFile("%PDF-1.4"), client())).toMatch(/^the file is a PDF; extract its text/);
  expect(await check(await storeFile(""), client())).toMatch(/^the file holds no examples/);
  const table = await check(await storeFile("prompt,completion\na,b\n"), client());
  expect(table).toMatch(
    /^line 1:1: not valid JSON near .*; files are JSON Lines, which mos data convert writes/,
  );
  await expect(check(join(folder, "none.jsonl"), client())).rejects.toThrow(/none\.jsonl/);
});

test("a long line of tiny messages is not parsed on this thread", async () => {
  const check = createFileChecker(limits);
  await check(await storeFile(GOOD), client());
  const path = await storeFile(`{"messages":[${"{},".repeat(1_500_000)}{}]}\n`);
  const before = performance.eventLoopUtilization();
  expect(await check(path, client())).toMatch(/a list of at most 10000 messages/);
  expect(performance.eventLoopUtilization(before).active).toBeLessThan(100);
});

test("a check ends with its client, and one that takes too long with a word about it", async () => {
  const path = await storeFile(GOOD.repeat(500_000));
  const left = new AbortController();
  const slow = createFileChecker(limits)(path, client(left.signal));
  left.abort(new Error("left"));
  await expect(slow).rejects.toThrow(/left/);
  const short = createFileChecker({ ...limits, seconds: 0.05 });
  expect(await short(path, client())).toMatch(/validating the file exceeded 0\.05 s/);
});
