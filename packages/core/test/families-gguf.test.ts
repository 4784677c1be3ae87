// Tiny models of every family as GGUF in llama.cpp's layout, with the greedy tokens of transformers on the Hugging Face
// folders that they were made from; llama.cpp has the same (scripts/verify/family_gguf.py, family-gguf.ts).
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Continuation, continuePrompts, departure, gapError } from "./greedy-cases.ts";

interface GreedyCase extends Continuation {
  readonly prompt: readonly number[];
}

const FIXTURES = "test/fixtures/families";
const families: Readonly<Record<string, readonly GreedyCase[]>> = JSON.parse(
  readFileSync(join(FIXTURES, "greedy.json"), "utf8"),
);

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "families-"));
});
afterAll(() => rm(folder, { recursive: true }));

test.each(Object.entries(families))("%s: the greedy tokens of transformers", async (family, cases) => {
  const file = join(folder, `${family}.gguf`);
  await writeFile(file, gunzipSync(readFileSync(join(FIXTURES, `${family}.gguf.gz`))));
  const prompts = cases.map(({ prompt }) => prompt);
  const found = await continuePrompts(file, prompts, { tokens: cases[0]?.tokens.length ?? 0 });
  cases.forEach((expected, i) => {
    const own = found[i] as Continuation;
    expect(departure(expected, own.tokens), `${own.tokens} for ${expected.tokens}`).toBeUndefined();
    expect(gapError(expected, own)).toBeLessThan(1e-3);
  });
});
