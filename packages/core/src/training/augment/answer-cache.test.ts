import { mkdir, mkdtemp, readdir, rm, utimes } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { answerCache } from "./answer-cache.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-answers-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const answers = [{ prompt: "Hi", answer: "Hello", isCut: false }];

test("the newest answers are kept, each by all that decides them", async () => {
  for (let base = 0; base < 66; base++) await answerCache(folder, { base }).write(answers);
  expect(await readdir(folder)).toHaveLength(64);
  expect(await answerCache(folder, { base: 65 }).read()).toEqual(answers);
  expect(await answerCache(folder, { base: 66 }).read()).toEqual([]);
});

test("what is old and cannot be removed is in nobody's way", async () => {
  const odd = join(folder, `${"0".repeat(64)}.json`); // a folder
  await mkdir(odd);
  await utimes(odd, 0, 0);
  await answerCache(folder, { base: "new" }).write(answers);
  expect(await answerCache(folder, { base: "new" }).read()).toEqual(answers);
});
