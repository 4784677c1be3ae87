import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type ConvertDatasetOptions, convertDataset } from "./convert.ts";
import { readDataset } from "./dataset.ts";

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-convert-"));
});
afterEach(() => rm(folder, { recursive: true }));

const at = (name: string): string => join(folder, name);
async function write(name: string, ...lines: readonly unknown[]): Promise<string> {
  const content = lines.map((line) => (typeof line === "string" ? line : JSON.stringify(line))).join("\n");
  await writeFile(at(name), content);
  return at(name);
}
const convert = (paths: readonly string[], options: Partial<ConvertDatasetOptions> = {}) =>
  convertDataset(paths, { out: at("out.jsonl"), to: "messages", ...options });
const written = async () =>
  (await readFile(at("out.jsonl"), "utf8"))
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));

const filled = fc.string({ unit: "grapheme", minLength: 1 }).filter((text) => text.trim() !== "");
const turns = fc
  .array(fc.tuple(filled, filled, fc.constantFrom(undefined, 1 as const)), { minLength: 1, maxLength: 3 })
  .chain((pairs) => fc.tuple(fc.constant(pairs), fc.option(filled)))
  .map(([pairs, system]) => ({
    messages: [
      ...(system === null ? [] : [{ role: "system", content: system }]),
      ...pairs.flatMap(([ask, answer, weight], i) => [
        { role: "user", content: ask },
        { role: "assistant", content: answer, weight: i < pairs.length - 1 && weight === undefined ? 0 : 1 },
      ]),
    ],
  }));
const instruction = fc.record({ instruction: filled, input: fc.option(filled), output: filled });
const question = fc.record({ question: filled, answer: filled });

test("conversations read back as the examples that they came of", async () => {
  const lines = fc.oneof(
    fc.array(turns, { minLength: 1, maxLength: 5 }),
    fc.array<object>(instruction, { minLength: 1, maxLength: 5 }),
    fc.array<object>(question, { minLength: 1, maxLength: 5 }),
  );
  await fc.assert(
    fc.asyncProperty(lines, async (given) => {
      const path = await write("in.jsonl", ...given);
      expect(await convert([path], { overwrite: true })).toBe(given.length);
      const before = (await readDataset(path)).examples;
      expect((await readDataset(at("out.jsonl"))).examples).toEqual(before);
    }),
    { numRuns: 60 },
  );
});

test("prompts and texts read back as what they were", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(filled, filled), { minLength: 1, maxLength: 5 }), async (pairs) => {
      const prompts = pairs.map(([prompt, completion]) => ({ prompt, completion }));
      const path = await write("in.jsonl", ...prompts);
      await convert([path], { to: "completion", overwrite: true });
      expect(await written()).toEqual(prompts);
      await convert([path], { to: "text", overwrite: true });
      expect(await written()).toEqual(pairs.map(([prompt, completion]) => ({ text: prompt + completion })));
      const questions = await write("q.jsonl", ...pairs.map(([q, answer]) => ({ question: q, answer })));
      await convert([questions], { to: "completion", overwrite: true });
      expect(await written()).toEqual(prompts);
    }),
    { numRuns: 30 },
  );
});

test("tables and lines become one file, and unknown fields are left out", async () => {
  const table = await write("faq.csv", "id,q,a", '1,"Who, then?","She\nsaid"', "2,Why?,So.");
  await convert([table], { columns: { question: "q", answer: "a" } });
  const messages = (...texts: readonly string[]) => ({
    messages: texts.map((content, i) => ({ role: i % 2 === 0 ? "user" : "assistant", content })),
  });
  expect(await written()).toEqual([messages("Who, then?", "She\nsaid"), messages("Why?", "So.")]);
  const prompt = await write("p.jsonl", { prompt: "2 + 2 =", completion: " 4", id: 7 });
  const chat = await write("c.json", [
    {
      conversations: [
        { from: "human", value: "a" },
        { from: "gpt", value: "b" },
      ],
    },
  ]);
  await convert([prompt, chat], { overwrite: true });
  expect(await written()).toEqual([messages("2 + 2 =", " 4"), messages("a", "b")]);
});

test("refuses what a format cannot hold, and leaves nothing behind", async () => {
  const text = await write("text.jsonl", { text: "All of it." });
  const chat = await write("chat.jsonl", {
    messages: [
      { role: "system", content: "Be kind" },
      { role: "user", content: "a" },
      { role: "assistant", content: "b" },
    ],
  });
  const bad = await write("bad.jsonl", { question: "a", answer: "b" }, "{");
  const refused = (paths: readonly string[], options: Partial<ConvertDatasetOptions>, message: RegExp) =>
    expect(convert(paths, options)).rejects.toThrow(message);
  await refused([text], {}, /text\.jsonl:1: a text has neither .* --to text/);
  await refused([chat], { to: "text" }, /chat\.jsonl:1: only a model's chat template/);
  await refused([chat], { to: "completion" }, /this conversation has system, user, assistant/);
  await refused([bad], {}, /bad\.jsonl:2:2: not valid JSON/);
  await refused([text], { out: at("out.csv") }, /ends in \.jsonl/);
  await refused([text], { out: text, to: "text" }, /already exists; add --overwrite/);
  await refused([text], { to: "text", signal: AbortSignal.abort() }, /cancelled/);
  expect((await readdir(folder)).toSorted()).toEqual(["bad.jsonl", "chat.jsonl", "text.jsonl"]);
});

test("replaces its own input only when it is complete", async () => {
  const path = await write("in.jsonl", { question: "a", answer: "b" }, { question: "c", answer: "" });
  const before = await readFile(path, "utf8");
  await expect(convert([path], { out: path, overwrite: true })).rejects.toThrow(
    /in\.jsonl:2: answer is empty/,
  );
  expect(await readFile(path, "utf8")).toBe(before);
});

test("pairs keep what they say in TRL's lines and OpenAI's", async () => {
  const tools = [{ type: "function", function: { name: "now" } }];
  const messages = [
    { role: "user", content: "a" },
    { role: "assistant", content: "b" },
    { role: "user", content: "When?" },
  ];
  const call = { id: "x", type: "function", function: { name: "now", arguments: "{}" } };
  const preferred = [{ role: "assistant", content: null, tool_calls: [call] }];
  const other = [{ role: "assistant", content: "Never." }];
  const line = {
    input: { messages, tools, parallel_tool_calls: true },
    preferred_output: preferred,
    non_preferred_output: other,
  };
  const openai = await write("openai.jsonl", line);
  await convert([openai], { to: "preference" });
  const trl = { prompt: messages, chosen: preferred, rejected: other, tools, parallel_tool_calls: true };
  expect(await written()).toEqual([trl]);
  await convert([await write("trl.jsonl", trl)], { to: "openai-preference", overwrite: true });
  expect(await written()).toEqual([line]);
});

test("texts of pairs stay texts where the format has them; the chosen answer is an example", async () => {
  const pair = { prompt: "a", chosen: "b", rejected: "c" };
  const path = await write("texts.jsonl", pair);
  await convert([path], { to: "preference" });
  expect(await written()).toEqual([pair]);
  await convert([path], { to: "openai-preference", overwrite: true });
  const message = (role: string, content: string) => ({ role, content });
  expect(await written()).toEqual([
    {
      input: { messages: [message("user", "a")] },
      preferred_output: [message("assistant", "b")],
      non_preferred_output: [message("assistant", "c")],
    },
  ]);
  await convert([path], { to: "messages", overwrite: true });
  expect(await written()).toEqual([{ messages: [message("user", "a"), message("assistant", "b")] }]);
  const asked = await write("asked.jsonl", { question: "a", answer: "b" });
  await expect(convert([asked], { to: "preference", overwrite: true })).rejects.toThrow(
    /asked\.jsonl:1: only pairs of answers are written as preference; convert it with --to messages/,
  );
  const rated = await write("rated.jsonl", { prompt: "a", completion: "b", label: false });
  await expect(convert([rated], { overwrite: true })).rejects.toThrow(/a rated answer is not converted/);
});
