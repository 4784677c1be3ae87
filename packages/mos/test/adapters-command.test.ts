// What operators see of adapters and of runs: mos adapters, and a run that is not complete.
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { finetune } from "mixture-of-shards-core/training";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type TinyFolder, writeTinyFolder } from "../../core/test/tiny-folder.ts";
import { expectRefusal, jsonLines, mos } from "./bad-input/run-mos.ts";

let folder: string;
let tiny: TinyFolder;
let adapters: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-adapters-command-"));
  tiny = await writeTinyFolder(folder);
  adapters = join(folder, "adapters");
  await mkdir(adapters);
  for (const seed of ["0", "1", "2"])
    expect(await train("acme", "--overwrite", "--seed", seed)).toMatchObject({ code: 0, stderr: "" });
  await mkdir(join(adapters, "broken"));
  await writeFile(join(adapters, "broken", "adapter_config.json"), "{");
  await writeFile(join(adapters, "broken", "adapter_model.safetensors"), "");
  await stop("stopped", 2);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const train = (name: string, ...more: readonly string[]) =>
  mos([
    ...["train", "--model", tiny.model, "--data", tiny.data, "--out", join(adapters, name), "--quiet"],
    ...[
      "--method",
      "lora",
      "--rank",
      "2",
      "--max-length",
      "64",
      "--validation-split",
      "0",
      "--steps",
      "2",
      ...more,
    ],
  ]);

/** A run that is stopped after a step. */
async function stop(name: string, step: number): Promise<void> {
  const controller = new AbortController();
  const adapter = { method: "lora", rank: 2 } as const;
  const settings = { steps: 6, maxLength: 64, validationSplit: 4, evaluateEvery: 1, learningRate: 5e-3 };
  const run = { ...tiny, out: join(adapters, name), adapter, settings, signal: controller.signal };
  for await (const event of finetune(run))
    if (event.type === "evaluation" && event.step === step) controller.abort();
}
const tensors = (path: string) => readFile(join(path, "adapter_model.safetensors"));

test("list shows what is there, which versions are kept, and what cannot be served and why", async () => {
  const { code, stdout, stderr } = await mos(["adapters", "list", adapters]);
  expect(code).toBe(0);
  const [head, ...rows] = stdout.split("\n");
  expect(head).toMatch(/^name +method, rank +parameters +base +written \(UTC\) +kept/);
  expect(rows[0]).toMatch(/^acme +lora 2 +[\d.]+ k +model +\d{4}-\d\d-\d\d \d\d:\d\d +2, 1/);
  expect(rows[1]).toMatch(/^broken +–/);
  expect(stdout).toContain("1 adapter; 2 folders cannot be served");
  expect(stderr).toMatch(/^broken cannot be served: broken\/adapter_config\.json: /);
  const best = join(adapters, "stopped", "best");
  expect(stderr).toContain(
    `stopped cannot be served: its training has not finished, or was stopped; its progress is in ${best}`,
  );
  const [json] = jsonLines((await mos(["adapters", "list", adapters, "--json"])).stdout);
  expect(json.adapters).toMatchObject([
    { name: "acme", reason: null, versions: [{ version: 2 }, { version: 1 }], isRetrained: false },
    { name: "broken", adapter: null, reason: expect.stringContaining("adapter_config.json") },
    { name: "stopped", adapter: null, soFar: best, versions: [] },
  ]);
});

test("rollback puts the last version back, and undoes itself; a version can be chosen", async () => {
  const rolled = join(folder, "rolled");
  await cp(adapters, rolled, { recursive: true });
  const acme = join(rolled, "acme");
  const last = await tensors(acme);
  const [second, first] = [
    await tensors(join(rolled, ".acme.versions/2")),
    await tensors(join(rolled, ".acme.versions/1")),
  ];
  const back = await mos(["adapters", "rollback", acme]);
  expect(back).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/version 2, written .* as version 3/s),
  });
  expect(await tensors(acme)).toEqual(second);
  await mos(["adapters", "rollback", acme]);
  expect(await tensors(acme)).toEqual(last);
  const { stdout } = await mos(["adapters", "rollback", acme, "--to", "1", "--json"]);
  expect(jsonLines(stdout)).toEqual([{ adapter: "acme", restored: 1, kept: 5 }]);
  expect(await tensors(acme)).toEqual(first);
});

test.each([
  [["list"], 2, /missing required argument 'folder'/],
  [["list", "none"], 1, /none: no such file or folder/],
  [["list", "adapters/acme"], 2, /acme is an adapter; give the folder that it is in/],
  [["list", "adapters", "--to", "1"], 2, /--to cannot be used with mos adapters list/],
  [["rollback", "adapters/acme", "--to", "9"], 1, /there is no version 9; the kept versions are \d, \d/],
  [["rollback", "adapters/stopped"], 1, /stopped: no earlier version is kept/],
  [["list", "adapters", "adapters"], 2, /mos adapters list takes one folder; 2 were given/],
  [["list", "adapters", "--weights", "1"], 2, /--weights cannot be used with mos adapters list/],
  [["average", "adapters/acme"], 2, /mos adapters average needs --out <folder>/],
  [
    ["average", "adapters/acme", "--weights", "1,0", "--out", "none"],
    2,
    /Expected a number above 0; or several ones/,
  ],
])("%s is refused", async (args, code, message) => {
  const placed = args.map((arg) => (arg.startsWith("adapters") || arg === "none" ? join(folder, arg) : arg));
  await expectRefusal(["adapters", ...placed], {
    code: code as 1 | 2,
    message: message as RegExp,
    untouched: adapters,
  });
});

test("average writes the mean of adapters that were trained from one, as the weights say", async () => {
  const acme = join(adapters, "acme");
  const clients = ["ann", "ben"].map((name) => join(folder, "clients", name));
  for (const [i, out] of clients.entries()) {
    const run = { ...tiny, out, adapter: { from: acme }, settings: { steps: 1 + i, maxLength: 64 } };
    for await (const _ of finetune(run));
  }
  const out = join(folder, "shared");
  const { code, stdout, stderr } = await mos([
    ...["adapters", "average", ...clients, "--weights", "3,1", "--out", out],
  ]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toMatch(/^written +.*shared\nmethod +lora.*\nmean of +75% .*ann\n +25% .*ben$/m);
  const floats = async (path: string) => {
    const { buffer, byteOffset, length } = await tensors(path);
    const header = Number(new DataView(buffer, byteOffset).getBigUint64(0, true));
    return new Float32Array(buffer.slice(byteOffset + 8 + header, byteOffset + length));
  };
  const [ann, ben, shared] = await Promise.all([...clients, out].map(floats));
  expect(shared).toEqual(ann!.map((value, i) => (3 * value + ben![i]!) / 4));
});

test("generate uses what a stopped run has so far, and says so", async () => {
  const path = join(adapters, "stopped");
  const asked = ["generate", "--model", tiny.model, "--prompt", "Hi", "--max-tokens", "3", "--json"];
  const { code, stdout, stderr } = await mos([...asked, "--adapter", path]);
  expect(stderr).toBe(`${path}: this run has not finished; its best adapter so far is used, ${path}/best\n`);
  expect(code).toBe(0);
  const best = await mos([...asked, "--adapter", join(path, "best")]);
  expect(best).toMatchObject({ code: 0, stdout, stderr: "" });
});

test("eval, export, merge and inspect use the same, and say the same", { tags: "thorough" }, async () => {
  const path = join(adapters, "stopped");
  const said = `${path}: this run has not finished; its best adapter so far is used, ${path}/best\n`;
  const model = ["--model", tiny.model];
  const out = (name: string): readonly string[] => ["--out", join(folder, name)];
  const questions = [
    "--data",
    "test/fixtures/benchmarks",
    "--tasks",
    "gsm8k",
    "--limit",
    "1",
    "--shots",
    "0",
  ];
  for (const args of [
    ["inspect", path],
    ["export", path, ...model, "--format", "peft", ...out("stopped-peft")],
    ["merge", path, ...model, ...out("stopped-merged"), "--quiet"],
    ["eval", ...model, "--adapter", path, ...questions, ...out("stopped.json"), "--quiet"],
  ])
    expect(await mos(args), args[0]).toMatchObject({ code: 0, stderr: said });
  const { subjects } = JSON.parse(await readFile(join(folder, "stopped.json"), "utf8"));
  expect(subjects).toMatchObject([{ name: "stopped" }]);
});

test("a run that has collapsed says so also to those who want errors only, and in its result", async () => {
  const steep = ["--learning-rate", "10", "--validation-split", "4", "--steps", "4"];
  const quiet = await train("../steep", ...steep);
  expect(quiet.code).toBe(0);
  expect(quiet.stderr).toMatch(/^warning: the validation loss is .* no better than the base alone;.*\n/m);
  const { stdout } = await train("../steep", ...steep, "--overwrite", "--json");
  const lines = jsonLines(stdout);
  expect(lines.some(({ type, reason }) => type === "warning" && reason === "worse_than_base")).toBe(true);
  expect(lines.at(-1)).toMatchObject({
    type: "finish",
    isBetterThanBase: false,
    replaced: 1,
    warnings: [expect.objectContaining({ reason: "worse_than_base" })],
  });
});
