import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type LoadedText, loadText } from "mixture-of-shards";
import { beforeAll, describe, expect, test } from "vitest";
import type { Question } from "../benchmark.ts";
import { bfcl, bfclTool, readBfcl } from "./bfcl.ts";
import { benchmarks } from "./index.ts";

const FOLDER = "test/fixtures/benchmarks";

type Row = readonly [
  prediction: string,
  references: readonly string[],
  extracted: string,
  scores: Readonly<Record<string, number>>,
];
const tables: { readonly bfcl: { readonly "lm-eval": readonly Row[] } } = JSON.parse(
  readFileSync("test/fixtures/scoring.json", "utf8"),
);

describe("hand-made cases, with the verdicts of the leaderboard's own checker", () => {
  test.each(tables.bfcl["lm-eval"])("%s", (prediction, references, extracted, scores) => {
    for (const scorer of Object.values(bfcl.scorers))
      expect(scorer(prediction, references)).toEqual({ extracted, scores });
  });
});

test("references that are none say which", () => {
  const [, [functions = ""] = []] = tables.bfcl["lm-eval"][0] ?? [];
  const score = (...references: readonly string[]) => bfcl.scorers["lm-eval"]("", references);
  expect(() => score("{", "")).toThrow(/BFCL: the first reference.*not valid JSON/);
  expect(() => score(functions, '{"id": "x"}')).toThrow(/BFCL: the second reference.*"ground_truth"/);
});

test("types of Python become JSON Schema, and names lose their dots", async () => {
  const { rows } = await readBfcl(FOLDER);
  const [order, forecast] = rows.get("parallel_multiple")?.[0]?.function ?? [];
  expect(order && bfclTool(order).parameters).toEqual({
    type: "object",
    properties: {
      things: {
        type: "array",
        items: {
          type: "object",
          properties: { name: { type: "string" }, count: { type: "integer" } },
          additionalProperties: false,
        },
      },
      size: { type: "array", items: { type: "integer" } },
      note: { type: "string" },
    },
    required: ["things"],
    additionalProperties: false,
  });
  expect(forecast && bfclTool(forecast)).toMatchObject({
    type: "function",
    name: "weather_forecast",
    parameters: { properties: { limit: { type: "number", description: "Degrees.", default: 0.5 } } },
  });
});

describe("questions", () => {
  let text: LoadedText;
  beforeAll(async () => {
    text = await loadText("assets/tiny-english");
  });
  const ask = async (name: "bfcl" | "bfcl_free"): Promise<readonly Question[]> => {
    const { questions, format } = await benchmarks[name].questions(FOLDER, {
      rules: "lm-eval",
      format: "none",
      seed: 0,
      text,
    });
    expect(format).toBe("model");
    return questions;
  };

  test("the model's template shows the functions; answers are constrained or not", async () => {
    const [constrained, free] = [await ask("bfcl"), await ask("bfcl_free")];
    expect(constrained.map(({ id, group }) => [id, group])).toEqual([
      ["bfcl/simple_python_0", "simple_python"],
      ["bfcl/simple_python_1", "simple_python"],
      ["bfcl/parallel_multiple_0", "parallel_multiple"],
    ]);
    for (const [i, question] of constrained.entries()) {
      expect(free[i]).toMatchObject({ prompt: question.prompt, references: question.references });
      expect(question.output).toMatchObject({ kind: "text", grammar: expect.anything() });
      expect(free[i]?.output).not.toHaveProperty("grammar");
    }
    expect(constrained[0]?.prompt).toMatch(/"weather_forecast".*What is the weather in Oslo/s);
  });

  test("what the model writes is read as a message with calls, and scored", async () => {
    for (const [question] of [await ask("bfcl"), await ask("bfcl_free")]) {
      if (question?.output.kind !== "text") throw new Error("the answer is no text");
      const { read } = question.output;
      const prediction = read?.(
        '<tool_call>\n{"name": "weather_forecast", "arguments": {"place": "Oslo", "days": 3}}\n</tool_call>',
      );
      expect(JSON.parse(prediction ?? "")).toEqual({
        content: "",
        tool_calls: [{ name: "weather_forecast", arguments: '{"place": "Oslo", "days": 3}' }],
      });
      expect(bfcl.scorers["lm-eval"](prediction ?? "", question.references).scores).toEqual({ ast: 1 });
      expect(bfcl.scorers["lm-eval"](read?.("It rains.") ?? "", question.references).scores).toEqual({
        ast: 0,
      });
    }
  });
});

test("a folder without its files, and figures by category", async () => {
  const folder = await mkdtemp(join(tmpdir(), "mos-bfcl-"));
  await expect(readBfcl(folder)).rejects.toMatchObject({
    code: "not_found",
    message: expect.stringMatching(/no questions of BFCL found/),
  });
  await rm(folder, { recursive: true });
  const verdicts = (...scores: readonly number[]) => scores.map((ast) => ({ scores: { ast } }));
  const scored = [
    { id: "a", group: "multiple", verdicts: verdicts(1) },
    { id: "b", group: "simple_python", verdicts: verdicts(0) },
    { id: "c", group: "simple_python", verdicts: verdicts(0) },
  ];
  const { overall, groups } = bfcl.summarise(scored);
  expect(overall.scores).toEqual({ ast: 0.5 });
  expect(groups.get("multiple")?.right).toEqual({ ast: 1 });
});
