import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BENCHMARK_NAMES } from "mixture-of-shards-lab";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createProgram, loadCommands } from "../../../mos/src/cli/program.ts";
import { expectRefusal, jsonLines, mos } from "../../../mos/test/bad-input/run-mos.ts";
import { DATA, ended, MODEL, start, writeAdapter } from "./bundled.ts";

let folder: string;
let adapters: readonly string[];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-eval-"));
  adapters = [
    await writeAdapter(join(folder, "lora")),
    await writeAdapter(join(folder, "mos"), {
      method: "mos",
      rank: 6,
      equivalentRank: 2,
      tokens: "sha256:other",
    }),
  ];
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const evalArgs = (out: string, ...more: readonly string[]): readonly string[] => [
  ...["eval", "--model", MODEL, "--data", DATA, "--out", join(folder, out), "--threads", "1", ...more],
];
const plain = ["--chat-format", "none", "--shots", "0"];
const read = async (out: string) => JSON.parse(await readFile(join(folder, out), "utf8"));

test("help names the benchmarks as the library has them", async () => {
  const help = createProgram(await loadCommands(["eval"]))
    .commands.find((command) => command.name() === "eval")
    ?.helpInformation();
  for (const word of [
    ...BENCHMARK_NAMES,
    "--adapter",
    "--chat-format",
    "--limit",
    "--python",
    "docs/reference/files.md",
  ])
    expect(help).toContain(word);
  expect((await mos(["eval", "--help"])).code).toBe(0);
});

test("variables of the model's chat template are used, and recorded", { tags: "thorough" }, async () => {
  const variables = ["--chat-template-kwargs", '{"enable_thinking":false}'];
  const chosen = ["--tasks", "gsm8k", "--shots", "0", ...variables];
  const { code, stderr } = await mos(evalArgs("variables.json", ...chosen, "--chat-format", "model"));
  expect(code, stderr).toBe(0);
  expect((await read("variables.json")).settings.chatTemplateKwargs).toBe('{"enable_thinking":false}');
  const unused = await mos(evalArgs("unused.json", ...chosen));
  expect(unused.code).toBe(2);
  expect(unused.stderr).toMatch(
    /the chat format tulu does not use the chat template.*; choose the format model/,
  );
});

test("one table of the base and two adapters, all rules' settings in the result", async () => {
  const chosen = ["--tasks", "mmlu,gsm8k", "--base", "--adapter", adapters[0]!, "--adapter", adapters[1]!];
  const { code, stdout, stderr } = await mos(evalArgs("table.json", ...chosen, ...plain));
  expect(code, stderr).toBe(0);
  const rows = stdout.split("\n").map((row) => row.trim().split(/ {2,}/));
  expect(rows[0]).toEqual(["mmlu average_acc", "gsm8k exact_match", "mean"]);
  expect(rows.slice(1, 4).map(([name]) => name)).toEqual(["base", "lora", "mos"]);
  expect(stderr).toMatch(/^mmlu: 3 questions of MMLU instead of 14042$/m);
  expect(stderr).toMatch(/^mos: trained with token ids that differ from this base's.*; used unchanged$/m);
  expect(stderr).not.toMatch(/^lora: trained/m);
  expect(stderr).toMatch(/^gsm8k mos: exact_match \d of 3, /m);
  const result = await read("table.json");
  expect(result).toMatchObject({
    model: { name: "tiny-english", baseDtype: "stored", computeDtype: "float32" },
    settings: { rules: "open-instruct", format: "none", shots: 0, seed: 0, maxLength: 512 },
    subjects: [{ name: "base" }, { name: "lora", method: "lora" }, { name: "mos", method: "mos", rank: 6 }],
  });
  expect(result.subjects[1].digest).toMatch(/^sha256:/);
});

test("--json: one line for each event, and no words", { tags: "thorough" }, async () => {
  const { code, stdout, stderr } = await mos(evalArgs("json.json", "--tasks", "gsm8k", "--json", ...plain));
  expect([code, stderr]).toEqual([0, ""]);
  expect(jsonLines(stdout).map(({ type }) => type)).toEqual([
    ...["task", "progress", "progress", "progress", "score", "finish"],
  ]);
  expect(jsonLines(stdout).at(-1).result).toEqual(await read("json.json"));
});

test("rules other than the paper's have their own format and metric", { tags: "thorough" }, async () => {
  const { code } = await mos(evalArgs("rules.json", "--tasks", "gsm8k", "--rules", "lm-eval", "--quiet"));
  expect(code).toBe(0);
  const { tasks, settings } = await read("rules.json");
  expect(tasks[0]).toMatchObject({ metric: "strict-match", rules: "lm-eval", format: "none", shots: 8 });
  expect(settings).toMatchObject({ shots: null });
});

test("options and folders that cannot be used", async () => {
  const bad = join(folder, "bad");
  await mkdir(join(bad, "gsm8k"), { recursive: true });
  await writeFile(join(bad, "gsm8k", "test.jsonl"), '{"question": "1 + 1?", "answer": "2"}\n');
  const broken = await writeAdapter(join(folder, "broken"));
  await writeFile(join(broken, "adapter_config.json"), "{}");
  const out = ["--out", join(folder, "no.json")];
  const model = ["--model", MODEL, ...out];
  const gsm8k = [...model, "--data", DATA, "--tasks", "gsm8k"];
  const cases: readonly (readonly [readonly string[], 1 | 2, RegExp])[] = [
    [out, 2, /required option '--model <model>' not specified/],
    [["--model", MODEL], 2, /required option '--out <file>' not specified/],
    [[...model, "--tasks", "mmul"], 2, /one or more of mmlu, bbh, gsm8k, tydiqa, humaneval/],
    [[...model, "--rules", "mine"], 2, /Expected one of open-instruct, lm-eval/],
    [[...model, "--chat-format", "alpaca"], 2, /Expected one of tulu, model, none/],
    [[...gsm8k, "--limit", "0"], 2, /a whole number, 1 or more/],
    [[...gsm8k, "--shots", "9"], 2, /cannot show 9 shots.*use 0 to 8/],
    [
      [...model, "--data", join(folder, "none"), "--tasks", "gsm8k"],
      1,
      /none\/gsm8k\/test\.jsonl: no such file/,
    ],
    [[...model, "--data", bad, "--tasks", "gsm8k"], 1, /gsm8k\/test\.jsonl:1: field "answer"/],
    [[...gsm8k, "--adapter", folder], 1, /no adapter here \(there is no adapter_config\.json\)/],
    [[...gsm8k, "--adapter", broken], 1, /broken\/adapter_config\.json/],
    [[...gsm8k, "--adapter", adapters[0]!, "--adapter", adapters[0]!], 2, /is given twice; omit one/],
  ];
  for (const [args, code, message] of cases)
    await expectRefusal(["eval", ...args, "--quiet"], { code, message, untouched: folder });
});

test("an adapter of another base says so", { tags: "thorough" }, async () => {
  const foreign = await writeAdapter(join(folder, "foreign"), { fingerprint: `sha256:${"0".repeat(64)}` });
  const args = evalArgs("no.json", "--tasks", "gsm8k", "--quiet", "--adapter", foreign);
  await expectRefusal(args, { code: 1, message: /adapter "foreign" cannot be used: /, untouched: folder });
});

test("without --data and without the network it says what is missing", { tags: "thorough" }, async () => {
  const args = ["eval", "--model", MODEL, "--out", join(folder, "no.json"), "--tasks", "gsm8k"];
  const home = join(folder, "home");
  const { code, stderr } = await ended(start(args, { HF_HOME: home, HF_HUB_OFFLINE: "1" }));
  expect(code).toBe(1);
  expect(stderr).toContain(
    `openai/gsm8k is not in ${home}/assets/mixture-of-shards/benchmarks, and network access is disabled`,
  );
});
