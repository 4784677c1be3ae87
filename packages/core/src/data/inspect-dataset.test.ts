import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { MosError, withProgress } from "#common";
import { loadTextFromFolder } from "#text";
import { normalise } from "./example.ts";
import { type InspectDatasetOptions, inspectDataset } from "./inspect-dataset.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-inspect-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function write(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, content);
  return path;
}
const inspect = (paths: readonly string[], options: Partial<InspectDatasetOptions> = {}) =>
  withProgress(inspectDataset(paths, { maxLength: 512, limit: 20, ...options }));
const pair = (question: string, answer: string): string => JSON.stringify({ question, answer });

test("lists all problems with their lines, and counts the empty answers", async () => {
  const path = await write(
    "train.jsonl",
    Buffer.concat([
      Buffer.from(`{"cut\n${pair("Who?", "She.")}\n\n${pair("Why?", " ")}\n{"text": "no question"}\n`),
      Buffer.of(0xe9, 0x0a),
      Buffer.from(`[1]\n${pair("When?", "Now.")}\n{"question": "How?", "answer": 3}\n{"cut`),
    ]),
  );
  const found = await inspect([path]);
  expect(found.files).toEqual([{ path, format: "question", examples: 2 }]);
  expect(found.problems.map((text) => text.replace(`${path}:`, ""))).toEqual([
    expect.stringMatching(/^1:\d+: not valid JSON near/),
    "4: answer is empty, so there is nothing to learn.",
    expect.stringMatching(/^5: there is no field "question".*like line 2/),
    expect.stringMatching(/^6: the line is not valid UTF-8/),
    expect.stringMatching(/^7: this line is a list/),
    expect.stringMatching(/^9: answer is 3; expected a string/),
    expect.stringMatching(/^10:\d+: not valid JSON near/),
  ]);
  expect(found).toMatchObject({ examples: 2, problemCount: 7, emptyAnswers: 1 });
  expect(await inspect([path], { limit: 2 })).toMatchObject({ problemCount: 7, problems: { length: 2 } });
});

test("goes on to the next file where the rest of one cannot be read", async () => {
  const broken = await write("broken.csv", 'question,answer\nWho?,She.\n"open,x\n');
  const empty = await write("empty.jsonl", "\n");
  const whole = await write("whole.json", `[${pair("Who?", "He.")}]`);
  const { files, problems } = await inspect([broken, empty, whole]);
  expect(files.map(({ format, examples }) => [format, examples])).toEqual([
    ["question", 1],
    [undefined, 0],
    ["question", 1],
  ]);
  expect(problems).toEqual([
    expect.stringMatching(/broken\.csv:3: a quotation mark .*; the rest of the file was not read$/),
    expect.stringMatching(/empty\.jsonl: the file holds no examples\.$/),
  ]);
});

test("finds exact and nearly equal examples, over files and formats", async () => {
  const one = await write(
    "one.jsonl",
    [pair("Who is it?", "She."), pair("who  is it", "SHE"), pair("Who was it?", "She.")].join("\n"),
  );
  const two = await write(
    "two.jsonl",
    [["Who is it?", "She."] as const, ["2 - 1?", "1"] as const, ["2 + 1?", "1"] as const]
      .map(([user, answer]) => ({
        messages: [
          { role: "user", content: user },
          { role: "assistant", content: answer },
        ],
      }))
      .map((line) => JSON.stringify(line))
      .join("\n"),
  );
  const found = await inspect([one, two]);
  expect(found.duplicates).toEqual([
    { place: `${one}:2`, first: `${one}:1`, isNear: true },
    { place: `${two}:1`, first: `${one}:1`, isNear: false },
  ]);
  expect(found).toMatchObject({ exactDuplicates: 1, nearDuplicates: 1, problemCount: 0 });
});

test("a normalised text keeps numbers, signs and letters", () => {
  expect(normalise('  "Hello,\n WORLD!" (1.5 – 2.5)…')).toBe("hello world 1.5 – 2.5");
  expect(normalise("2 + 2 = 4.")).toBe("2 + 2 = 4");
  expect(normalise("ﬁne")).toBe("fine");
  expect(normalise(`${".".repeat(1e6)}x`)).toBe("x");
});

test("counts tokens as a run encodes them, and those that would be truncated", async () => {
  const text = await loadTextFromFolder("assets/tiny-english");
  const path = await write(
    "lengths.jsonl",
    Array.from({ length: 20 }, (_, i) => pair("Who?", "light ".repeat(i + 1).trim())).join("\n"),
  );
  const { tokens } = await inspect([path], { text, maxLength: 20 });
  expect(tokens).toBeDefined();
  const { min, median, p95, max, total, truncated } = tokens!;
  expect(max - min).toBe(19);
  expect([median - min, p95 - min]).toEqual([9, 18]);
  expect(total).toBe(20 * min + (19 * 20) / 2);
  expect(truncated).toBe(max - 20);
});

test("a conversation that the chat template refuses is a problem", async () => {
  const { template, ...text } = await loadTextFromFolder("assets/tiny-english");
  const refusing = {
    ...template,
    renderTurns: () => {
      throw new MosError("bad_data", "roles must alternate");
    },
  };
  const path = await write("refused.jsonl", pair("Who?", "She."));
  const found = await inspect([path], { text: { ...text, template: refusing } });
  expect(found).toMatchObject({ examples: 0, problemCount: 1, tokens: undefined });
  expect(found.problems[0]).toMatch(/refused\.jsonl:1: .*roles must alternate/);
});

test("stops at the signal, and names a file that is missing or no data", async () => {
  const path = await write("some.jsonl", pair("Who?", "She."));
  await expect(inspect([path], { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "cancelled" });
  await expect(inspect([join(folder, "none.jsonl")])).rejects.toMatchObject({ code: "not_found" });
  await expect(inspect([await write("a.pdf", "%PDF")])).rejects.toMatchObject({ code: "unsupported" });
});

test("stops in a file of nothing but invalid lines, of which none is kept", async () => {
  const path = await write("log.jsonl", "not JSON\n".repeat(1000));
  await expect(inspect([path], { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "cancelled" });
  expect(await inspect([path])).toMatchObject({ problemCount: 1000, problems: { length: 20 } });
});

test("counts examples with tools, and lists calls that their schemas do not allow", async () => {
  const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
  const line = (given: object) => ({
    messages: [
      { role: "user", content: JSON.stringify(given) },
      { role: "assistant", tool_calls: [{ function: { name: "weather", arguments: given } }] },
    ],
    tools: [{ type: "function", function: { name: "weather", parameters } }],
  });
  const lines = [line({ city: "Rome" }), line({ city: 1 }), line({ city: 2 })];
  const path = await write("tools.jsonl", lines.map((one) => JSON.stringify(one)).join("\n"));
  const found = await inspect([path], { limit: 1 });
  expect(found).toMatchObject({ examples: 3, problemCount: 0, toolExamples: 3, callWarningCount: 2 });
  expect(found.callWarnings).toEqual([
    expect.stringMatching(
      /tools\.jsonl:2: message 2: the arguments of "weather" do not match its schema: after \{"city": comes 1\}$/,
    ),
  ]);
});

test("counts pairs of answers, by characters and by tokens, and ratings", async () => {
  const preference = (prompt: string, chosen: string, rejected: string) =>
    JSON.stringify({ prompt, chosen, rejected });
  const lines = [
    preference("Who?", "She did.", "He."),
    preference("Why?", "So.", "It is not known to me."),
    preference("Who?", "They did.", "She did."),
    preference("Who?", "They.", "They."),
  ];
  const path = await write("pairs.jsonl", lines.join("\n"));
  const found = await inspect([path]);
  expect(found).toMatchObject({
    files: [{ format: "preference", examples: 3 }],
    problems: [expect.stringMatching(/pairs\.jsonl:4: chosen and rejected are the same/)],
    rated: undefined,
    pairs: {
      count: 3,
      unit: "characters",
      prompt: { min: 4, max: 4 },
      chosen: { total: 20, min: 3, median: 8, max: 9 },
      rejected: { min: 3, median: 8, max: 22 },
      chosenLonger: 2,
      repeatedPrompts: 1,
    },
  });
  const text = await loadTextFromFolder("assets/tiny-english");
  const { tokens, pairs } = await inspect([path], { text });
  expect(pairs).toMatchObject({ unit: "tokens", count: 3, repeatedPrompts: 1 });
  const sum = (of: "prompt" | "chosen" | "rejected") => pairs?.[of].total ?? 0;
  expect(tokens?.total).toBe(2 * sum("prompt") + sum("chosen") + sum("rejected"));
  const rated = [true, false, true].map((label) => JSON.stringify({ prompt: "a", completion: "b", label }));
  expect(await inspect([await write("rated.jsonl", rated.join("\n"))])).toMatchObject({
    pairs: undefined,
    rated: { count: 3, desirable: 2 },
  });
});
