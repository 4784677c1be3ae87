// The program as a user has it: processes, exit codes, stdout and stderr. A start costs about a second, so each test
// looks at several things.
import { type ChildProcess, spawn } from "node:child_process";
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, test } from "vitest";

const MODEL = "assets/tiny-english";
const DATA = "assets/quickstart/train.jsonl";
let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-cli-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function start(args: readonly string[]): ChildProcess {
  return spawn(
    process.execPath,
    ["--conditions=source", "--import", "tsx", "packages/mos/src/cli/main.ts", ...args],
    {
      env: { ...process.env, HF_HUB_OFFLINE: "1", HF_HUB_CACHE: join(folder, "cache"), npm_execpath: "npm" },
    },
  );
}

async function finished(child: ChildProcess, input = ""): Promise<Finished> {
  child.stdin?.end(input);
  const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
  const [stdout, stderr] = await Promise.all([text(child.stdout!), text(child.stderr!)]);
  return { code: await ended, stdout, stderr };
}

const mos = (args: readonly string[], input?: string): Promise<Finished> => finished(start(args), input);
const jsonLines = (lines: string): { readonly type: string; readonly step: number }[] =>
  lines
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
const training = (out: string, ...more: readonly string[]): readonly string[] => [
  ...["train", "--model", MODEL, "--data", DATA, "--out", out, "--rank", "4"],
  ...[
    "--max-length",
    "64",
    "--batch-size",
    "2",
    "--learning-rate",
    "0.01",
    "--validation-split",
    "0.05",
    ...more,
  ],
];

test("help and version", async () => {
  const [none, help, version] = await Promise.all([mos([]), mos(["train", "--help"]), mos(["--version"])]);
  expect(none).toMatchObject({ code: 0, stderr: "" });
  for (const name of ["quickstart", "train", "generate", "params", "pull"])
    expect(none.stdout).toContain(`\n  ${name} `);
  expect(help).toMatchObject({ code: 0, stderr: "" });
  for (const group of ["Most used:", "Data:", "Adapter:", "Training:", "Output:", "Machine:", "Examples:"])
    expect(help.stdout).toContain(`\n${group}\n`);
  expect(version.stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
});

test("a dry run says what a run would be, and writes nothing", async () => {
  const out = join(folder, "dry");
  const [said, json, wrong] = await Promise.all([
    mos(training(out, "--steps", "40", "--dry-run", "--preview-lines", "7")),
    mos(training(out, "--steps", "40", "--dry-run", "--json")),
    mos(training(out, "--dry-run", "--data", join(folder, "none.jsonl"))),
  ]);
  expect(said).toMatchObject({ code: 0, stderr: "" });
  expect(said.stdout).toMatch(
    /^model +tiny-english[\s\S]*\ntraining +\S+ passe?s? over the data in 40 steps[\s\S]*\nschedule +1 step of warm-up/,
  );
  expect(said.stdout).toMatch(/\nline 7: 42 tokens, 22 trained\n {2}<\|im_start\|>│user[\s\S]*\n\+ A│ho│y/);
  expect(json.code).toBe(0);
  expect(JSON.parse(json.stdout)).toMatchObject({
    steps: 40,
    lines: [{ line: 1 }, { line: 2 }, { line: 3 }],
  });
  expect(wrong.code).toBe(1);
  expect(wrong.stderr).toContain("none.jsonl");
  expect(await readdir(folder)).not.toContain("dry");
});

test("errors: one line that helps, exit codes, JSON on request, a stack with --verbose only", async () => {
  const [command, option, number, model, json, verbose] = await Promise.all([
    mos(["trian"]),
    mos(["train", "--mdoel", "x"]),
    mos(training("x", "--steps", "0")),
    mos(["generate", "--model", "nowhere", "--prompt", "Hi"]),
    mos(["params", "--preset", "llama", "--json"]),
    mos(["params", "--preset", "llama", "--verbose"]),
  ]);
  expect(command).toEqual({
    code: 2,
    stdout: "",
    stderr: "mos: unknown command 'trian'; did you mean train?\n",
  });
  expect(option).toEqual({
    code: 2,
    stdout: "",
    stderr: "mos: unknown option '--mdoel'; did you mean --model?\n",
  });
  expect(number.code).toBe(2);
  expect(number.stderr).toMatch(
    /^mos: option '--steps <n>' argument '0' is invalid\. Expected a whole number from 1 to 10000000; see mos train --help\n$/,
  );
  expect(model).toMatchObject({ code: 1, stdout: "" });
  expect(model.stderr).toMatch(/^mos: nowhere: no such folder or file; .*\n$/);
  expect(JSON.parse(json.stderr)).toEqual({
    error: { code: "not_found", message: expect.stringContaining('no preset "llama"') },
  });
  expect(verbose.stderr).toMatch(/\n {4}at .*presets\.ts/);
});

test("train, then generate", async () => {
  const out = join(folder, "adapter");
  const trained = await mos(training(out, "--steps", "40"));
  expect(trained.stderr).toContain("validation loss before training");
  expect(trained.code).toBe(0);
  for (const part of [
    "model  ",
    "data  ",
    "trainable parameters",
    "validation loss",
    "training loss",
    " generate --model",
  ])
    expect(trained.stdout).toContain(part);
  expect(await readdir(out)).toEqual(
    expect.arrayContaining(["adapter_config.json", "adapter_model.safetensors", "metrics.jsonl"]),
  );

  const generate = ["generate", "--model", MODEL, "--adapter", out, "--max-tokens", "24"];
  const [again, answer, compared, chat] = await Promise.all([
    mos(training(out, "--steps", "40")),
    mos(generate, "When can I come in?\n"),
    mos([...generate, "--compare", "--json", "--prompt", "When can I come in?"]),
    mos([...generate, "--chat"], "When can I come in?\n/reset\n/sytem\n\n/exit\nnever read\n"),
  ]);
  expect(again).toMatchObject({ code: 2, stdout: "" });
  expect(again.stderr).toContain("continue it with --resume, replace it with --overwrite");
  expect(answer).toMatchObject({ code: 0, stderr: "" });
  expect(answer.stdout).toMatch(/^Ahoy!.*\n$/);
  const { answers } = JSON.parse(compared.stdout);
  expect(answers).toMatchObject([{ adapter: null }, { adapter: out, text: answer.stdout.trim() }]);
  expect(answers[0].text).not.toContain("Ahoy");
  expect(chat).toMatchObject({ code: 0, stdout: answer.stdout });
  expect(chat.stderr).toMatch(/\(conversation cleared\)\n\(unknown command \/sytem;/);
});

test("a model that has no chat template continues the prompt, and cannot chat", async () => {
  const model = join(folder, "plain");
  await cp(MODEL, model, { recursive: true });
  const edit = async (file: string, change: (text: string) => string) =>
    writeFile(join(model, file), change(await readFile(join(model, file), "utf8")));
  await edit("tokenizer.json", (text) => text.replaceAll("<|im_start|>", "<|other|>"));
  await edit("tokenizer_config.json", (text) => JSON.stringify({ ...JSON.parse(text), chat_template: null }));
  const generate = ["generate", "--model", model, "--max-tokens", "8"];
  const prompt = ["--prompt", "Once upon a time"];
  const [answer, raw, chat, system, kwargs] = await Promise.all([
    mos([...generate, ...prompt]),
    mos([...generate, ...prompt, "--raw"]),
    mos([...generate, "--chat"], "Hi\n"),
    mos([...generate, ...prompt, "--system", "Be brief."]),
    mos([...generate, ...prompt, "--chat-template-kwargs", "enable_thinking=false"]),
  ]);
  expect(answer).toMatchObject({ code: 0, stdout: raw.stdout });
  expect(answer.stderr).toMatch(/plain has no chat template.*as with --raw/);
  expect([chat.code, system.code, kwargs.code]).toEqual([2, 2, 2]);
  expect(chat.stderr).toMatch(/--chat requires a chat template, and .*plain has none/);
  expect(system.stderr).toContain("--system requires a chat template");
  expect(kwargs.stderr).toContain("Expected a JSON object such as");
});

test("an interrupt saves and prints how to resume; the same settings resume", async () => {
  const out = join(folder, "interrupted");
  const args = training(out, "--steps", "120", "--json");
  const child = start(args);
  let sent = false;
  child.stdout?.on("data", (chunk: Buffer) => {
    if (!sent && chunk.includes('"type":"step"')) sent = child.kill("SIGINT");
  });
  const stopped = await finished(child);
  expect(stopped).toMatchObject({ code: 130, stderr: "" });
  const { step } = jsonLines(stopped.stdout).find(({ type }) => type === "stopped")!;
  expect(step).toBeGreaterThan(0);
  expect(await readdir(out)).not.toContain("adapter_config.json");

  const [other, resumed] = [
    await mos([...args, "--resume", "--seed", "1"]),
    await mos([...args, "--resume"]),
  ];
  expect(other.code).toBe(2);
  expect(JSON.parse(other.stderr).error.message).toContain("was started with other settings");
  expect(resumed).toMatchObject({ code: 0, stderr: "" });
  const events = jsonLines(resumed.stdout);
  expect(events.find(({ type }) => type === "ready")).toMatchObject({ step });
  expect(events.find(({ type }) => type === "step")).toMatchObject({ step: step + 1 });
  expect(events.at(-1)).toMatchObject({ type: "finish", steps: 120 });
});

test("bad data is refused with its line before anything is written", async () => {
  const data = join(folder, "bad.jsonl");
  await writeFile(data, '{"prompt": "Hi", "completion": "Ho"}\n{"prompt": \n');
  const out = join(folder, "nothing");
  const result = await mos(["train", "--model", MODEL, "--data", data, "--out", out, "--rank", "6"]);
  expect(result).toMatchObject({ code: 1, stdout: "" });
  expect(result.stderr).toMatch(/^mos: .*bad\.jsonl.*2.*\n$/);
  expect(await readdir(folder)).not.toContain("nothing");
});

test("params needs no weights", async () => {
  const config = join(folder, "config.json");
  await writeFile(config, await readFile(join(MODEL, "config.json")));
  const [text, json] = await Promise.all([
    mos(["params", "--preset", "llama2-7b"]),
    mos(["params", "--config", config, "--rank", "6", "--json"]),
  ]);
  expect(text.stdout).toContain("4,997,120 parameters");
  expect(JSON.parse(json.stdout)).toMatchObject({ budget: { trainable: 23_360 }, layers: 5 });
});
