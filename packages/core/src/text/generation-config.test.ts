import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { generationFromFolder, generationFromGguf } from "./load-text.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-generation-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function read(content: unknown) {
  await writeFile(join(folder, "generation_config.json"), JSON.stringify(content));
  return generationFromFolder(folder);
}

test("a folder without the file says nothing", async () => {
  expect(await generationFromFolder(join(folder, "empty"))).toMatchObject({ sampling: {}, endTokens: [] });
});

test.each([
  [
    { do_sample: true, temperature: 0.6, top_p: 0.9 },
    { temperature: 0.6, topP: 0.9 },
  ],
  [
    { do_sample: false, temperature: 0.6, repetition_penalty: 1.1 },
    { temperature: 0, repetitionPenalty: 1.1 },
  ],
  [
    { do_sample: true, top_k: 20, min_p: 0.1 },
    { temperature: 1, topK: 20, minP: 0.1 },
  ],
  [
    { temperature: 0.7, top_k: -1, top_p: null },
    { temperature: 0.7, topK: 0 },
  ],
  [{ temperature: 0.7, top_p: 0 }, { temperature: 0 }],
  [{ num_beams: 4, eos_token_id: 2 }, {}],
])("%j is %j", async (content, sampling) => {
  expect((await read(content)).sampling).toEqual(sampling);
});

test("the length of answers and the end tokens are read, too", async () => {
  expect(await read({ max_new_tokens: 512, eos_token_id: [1, 2] })).toMatchObject({
    where: join(folder, "generation_config.json"),
    maxTokens: 512,
    endTokens: [1, 2],
  });
});

test("what no sampler takes is for who samples to refuse; end tokens that are none are an error", async () => {
  const broken = { temperature: "hot", top_k: 1.5, max_new_tokens: "many", eos_token_id: 2 };
  expect(await read(broken)).toMatchObject({
    sampling: { temperature: "hot", topK: 1.5 },
    maxTokens: "many",
    endTokens: [2],
  });
  expect((await read({ do_sample: 1, temperature: 0.5 })).sampling).toEqual({
    temperature: { do_sample: 1 },
  });
  await expect(read({ eos_token_id: "x" })).rejects.toThrow(/generation_config\.json: field "eos_token_id"/);
});

test("a GGUF file has the keys of llama.cpp, in 32 bits", () => {
  const metadata = {
    "general.sampling.temp": Math.fround(0.6),
    "general.sampling.top_p": Math.fround(0.95),
    "general.sampling.top_k": 20n,
    "general.sampling.min_p": 0,
    "general.sampling.xtc_threshold": 0.1,
    "general.sampling.penalty_repeat": Math.fround(1.05),
    "general.name": "tiny",
  };
  expect(generationFromGguf(metadata, [7])).toEqual({
    where: "the GGUF file's metadata",
    sampling: { temperature: 0.6, topP: 0.95, topK: 20, minP: 0, repetitionPenalty: 1.05 },
    endTokens: [7],
  });
  expect(generationFromGguf({ "general.sampling.temp": "0.6" }, []).sampling).toEqual({ temperature: "0.6" });
});
