import { execFileSync } from "node:child_process";
import fc from "fast-check";
import { expect, test } from "vitest";
import { runs } from "../../../test/runs.ts";
import { shellQuote, toCurl, toTrainCommand, toTypeScript } from "../src/views/new-run/commands.ts";
import type { JobBody } from "../src/views/new-run/draft.ts";
import type { SettingField } from "../src/views/new-run/fields.ts";

const target = { api: "http://localhost:8000/v1", needsKey: true };

/** The words that a shell gives to the commands curl and mos, which only tell them. */
const wordsOf = (command: string): readonly string[] =>
  execFileSync("sh", ["-c", `curl() { printf '%s\\0' "$@"; }; mos() { printf '%s\\0' "$@"; }; ${command}`], {
    encoding: "utf8",
    env: { MOS_API_KEY: "secret" },
  })
    .split("\0")
    .slice(0, -1);

const body: JobBody = {
  model: "tiny",
  training_file: "file-1",
  suffix: "it's",
  mos: {
    adapter: "mos",
    system: 'Say "it\'s"; $(rm -rf ~) `x` \\ \n <script>',
    target_modules: ["q_proj"],
    packing: false,
  },
};

test("curl sends the body of Start", () => {
  const words = wordsOf(toCurl(body, target));
  expect(words[0]).toBe("http://localhost:8000/v1/fine_tuning/jobs");
  expect(words.slice(1, 5)).toEqual([
    "-H",
    "Authorization: Bearer secret",
    "-H",
    "Content-Type: application/json",
  ]);
  expect(JSON.parse(words[6] ?? "")).toEqual(body);
  expect(toCurl(body, { ...target, needsKey: false })).not.toContain("Authorization");
});

test("the program sends the body of Start", async () => {
  const text = toTypeScript(body, target);
  expect(text).toContain('  training_file: "file-1",');
  expect(text).toContain("apiKey: process.env.MOS_API_KEY");
  const start = text.indexOf("const body = ") + "const body = ".length;
  const literal = text.slice(start, text.indexOf(";\nconst job"));
  const read: unknown = new Function(`return ${literal}`)();
  expect(read).toEqual(body);
});

test("mos train has the same settings as options", () => {
  const field = (name: string, option?: string): SettingField => ({
    ...{ name, option, kind: "text", choices: [], help: "", label: undefined, methods: undefined },
    ...{ minimum: undefined, maximum: undefined, above: undefined, below: undefined },
    standard: name === "packing" ? "true" : "",
  });
  const fields = [
    field("adapter", "--method"),
    field("system", "--system"),
    field("target_modules", "--targets"),
    field("packing", "--no-packing"),
    field("steps", "--steps"),
    field("priority"),
  ];
  const names = {
    base: "tiny",
    trainingName: "my data.jsonl",
    validationName: undefined,
    fields,
  };
  expect(wordsOf(toTrainCommand(body, names))).toEqual([
    ...["train", "--model", "tiny", "--data", "my data.jsonl", "--validation-split", "0", "--method", "mos"],
    ...["--system", body.mos?.["system"], "--targets", "q_proj", "--no-packing", "--out", "it's"],
  ]);
  const more = {
    ...body,
    model: "ft:tiny:a::1",
    mos: { packing: true, system: "-x", priority: 3, steps: 2 },
  };
  expect(wordsOf(toTrainCommand(more, { ...names, validationName: "v.jsonl" }))).toEqual([
    ...["train", "--model", "tiny", "--data", "my data.jsonl", "--validation-data", "v.jsonl"],
    ...["--from-adapter", "ft:tiny:a::1", "--system=-x", "--steps", "2", "--out", "it's"],
  ]);
});

test("a quoted word is one word, whatever is in it", () => {
  const texts = fc.sample(fc.string({ unit: "binary" }), runs(400));
  const words = texts.map((text) => text.replaceAll("\0", ""));
  expect(wordsOf(`curl ${words.map(shellQuote).join(" ")}`)).toEqual(words);
});
