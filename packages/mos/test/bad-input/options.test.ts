// Options that cannot be used: each is refused by the name that the user wrote.

import { cp, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type TinyFolder, writeTinyFolder } from "../../../core/test/tiny-folder.ts";
import { expectRefusal, mos, STACK } from "./run-mos.ts";

let folder: string;
let tiny: TinyFolder;
let done: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-bad-option-"));
  tiny = await writeTinyFolder(folder);
  done = join(folder, "done");
  expect(await mos(train(["--out", done, "--quiet", "--validation-split", "0"]))).toMatchObject({
    code: 0,
    stderr: "",
  });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** A run of one step that works, unless `more` says otherwise: later options count. */
const train = (more: readonly string[]): readonly string[] => [
  ...["train", "--model", tiny.model, "--data", tiny.data, "--rank", "3", "--shards-per-vector", "2"],
  ...[
    "--max-length",
    "64",
    "--steps",
    "1",
    ...(more.includes("--out") ? [] : ["--out", join(folder, "out")]),
    ...more,
  ],
];
const generate = (more: readonly string[]): readonly string[] => [
  ...[
    "generate",
    "--model",
    tiny.model,
    "--adapter",
    done,
    ...(more.includes("--prompt") ? [] : ["--prompt", "Hi"]),
    ...more,
  ],
];

type Case = readonly [options: string, code: 1 | 2, message: RegExp];
const words = (options: string): readonly string[] =>
  options
    .split(" ")
    .filter((word) => word !== "")
    .map((word) => (word === "''" ? "" : word));

const trainCases: readonly Case[] = [
  ["--max-length 256", 2, /--max-length 256 is more than the 128 positions of model; use at most 128/],
  ["--rank 2.5", 2, /--rank.*'2\.5' is invalid.*whole number/],
  ["--rank 5000", 1, /--?rank:? 5000 is invalid; give a whole number from 1 to 4096/],
  ["--rank 1", 1, /rank 1 is less than the equivalent rank 2; .* Use a rank of 2 or more/],
  ["--rank 4", 1, /rank 4 needs 3 shared ranks, but 2 layers × .* share only 2; use a rank of at most 3/],
  [
    "--private-rank 3",
    1,
    /private rank 3 is more than the equivalent rank 2; .*Use a private rank of 0 to 2/,
  ],
  [
    "--private-rank 2",
    1,
    /private rank 2 leaves nothing to share .*use rank 2, which is LoRA, or a private rank below 2/,
  ],
  [
    "--shards-per-vector 3",
    1,
    /q_proj: its d_in of 16 does not split into 3 shards; shards per vector can be 1, 2, 4, 8 for these targets/,
  ],
  ["--method dora", 2, /--method.*'dora' is invalid\. Expected one of lora, mos, /],
  ["--method lora", 2, /--shards-per-vector cannot be used with --method lora/],
  ["--unshared-rank 1", 2, /--unshared-rank cannot be used with --method mos/],
  ["--targets q_proj,c_attn", 2, /--targets.*one or more of q_proj, k_proj/],
  ["--targets ''", 2, /--targets.*one or more of/],
  ["--alpha 0", 2, /--alpha.*'0' is invalid\. Expected a number above 0/],
  ["--dropout 1", 2, /--dropout.*'1' is invalid\. Expected a probability from 0 to below 1/],
  ["--learning-rate 50", 2, /--learning-rate.*'50' is invalid\. Expected a number above 0 and up to 10/],
  ["--warmup 5", 2, /warmup of 5 updates is more than the 1 updates|--warmup/],
  ["--validation-split 2.5", 2, /cannot hold out 2\.5 examples; give a whole number of at least 0/],
  ["--schedule exponential", 2, /--schedule.*exponential.*linear, cosine, constant/],
  ["--prompt-format alpaca", 2, /--prompt-format.*alpaca.*template, chatml, plain, open-instruct/],
  ["--device tpu", 2, /--device.*tpu.*cpu, webgpu, cuda/],
  ["--epochs 1", 2, /--epochs.*--steps/],
  ["--resume --overwrite", 2, /--resume.*--overwrite/],
  ["--learnig-rate 1e-3", 2, /unknown option '--learnig-rate'; did you mean --learning-rate\?/],
  ["stray", 2, /stray|too many arguments/],
  ["--resume", 1, /no run to resume; start without --resume/],
];
/** A run of another method than MoS, whose options the run above has. */
const methodCases: readonly Case[] = [
  [
    "pure-sharing --no-pair-dissociation",
    2,
    /--no-pair-dissociation cannot be used with --method pure-sharing/,
  ],
  ["pure-sharing --rank 70000", 2, /--rank.*'70000' is invalid\. Expected a whole number from 1 to/],
  [
    "random-scaling --scale-deviation -1",
    2,
    /--scale-deviation.*'-1' is invalid\. Expected a number from 0 to 1000/,
  ],
  ["random-scaling --scale-mean 0 --scale-deviation 0", 1, /make every scale 0, so nothing could be trained/],
  ["subset-selection --rank 9", 1, /rank 9 is more than the 4 shared pairs of 2 layers × equivalent rank 2/],
  ["subset-selection --private-rank 1", 2, /--private-rank cannot be used with --method subset-selection/],
  ["vera --alpha 16", 2, /--alpha cannot be used with --method vera/],
  ["tied-lora --targets o_proj", 1, /"o_proj" is invalid; give one of q_proj, k_proj, v_proj/],
  ["prolora --unshared-rank 5", 1, /unshared rank 5 is more than the rank 4; use an unshared rank of 0 to 4/],
  ["prolora --chunks 9999", 1, /9999 chunks are more than the width \d+ of [a-z]+_proj; use at most \d+/],
];
describe("mos train", () => {
  test.each(trainCases)("%s", async (options, code, message) => {
    await expectRefusal(train(words(options)), { code, message, untouched: folder });
  });
  test.each(methodCases)("--method %s", async (options, code, message) => {
    const paths = ["--model", tiny.model, "--data", tiny.data, "--out", join(folder, "out")];
    const run = ["train", ...paths, "--max-length", "64", "--steps", "1"];
    await expectRefusal([...run, "--method", ...words(options)], {
      code,
      message,
      untouched: folder,
    });
  });
  test.each<[string, Case[1], RegExp]>([
    [
      "",
      2,
      /already holds a run or an adapter; continue it with --resume, replace it with --overwrite, or choose another --out/,
    ],
    [
      "--resume --learning-rate 1e-3",
      2,
      /was started with other settings: --learning-rate was 0\.002, now 0\.001.*Resume with the same/,
    ],
    [
      "--resume --rank 2 --private-rank 0",
      2,
      /was started with other settings: --rank was 3, now 2; --private-rank was 1, now 0/,
    ],
    ["--overwrite --rank 0", 2, /--rank/],
  ])("an out folder that holds a run, %s", async (options, code, message) => {
    await expectRefusal(train(["--out", done, "--validation-split", "0", ...words(options)]), {
      code,
      message,
      untouched: folder,
    });
  });
  test.each([
    ["model", /required option '--model .*see mos train --help/],
    ["data", /required option '--data .*see mos train --help/],
    ["out", /--out <folder> is required, except with --dry-run/],
  ])("without --%s", async (name, message) => {
    const given = { model: tiny.model, data: tiny.data, out: join(folder, "out") };
    const args = Object.entries(given).flatMap(([key, value]) => (key === name ? [] : [`--${key}`, value]));
    await expectRefusal(["train", ...args], {
      code: 2,
      message,
      untouched: folder,
    });
  });
  test("an out that is a file", async () => {
    await expectRefusal(train(["--out", tiny.data]), {
      code: 1,
      message: /train\.jsonl: a file is in the way; choose another --out/,
      untouched: folder,
    });
    await expectRefusal(train(["--out", join(tiny.data, "deep")]), {
      code: 1,
      message: /a file is in the way/,
      untouched: folder,
    });
  });
  test("an --out that is not writable", async () => {
    await expectRefusal(train(["--out", "/proc/mos-out"]), {
      code: 1,
      message: /\/proc\/mos-out: cannot create a folder there; choose another --out/,
      untouched: folder,
    });
    await expectRefusal(train(["--out", "/dev/null/out"]), {
      code: 1,
      message: /a file is in the way/,
      untouched: folder,
    });
  });
  test("an out whose name is too long, or empty, or a link that leads nowhere", async () => {
    await expectRefusal(train(["--out", join(folder, "x".repeat(300))]), {
      code: 1,
      message: /name is too long/,
      untouched: folder,
    });
    await symlink(join(folder, "gone"), join(folder, "link"));
    await expectRefusal(train(["--out", join(folder, "link")]), {
      code: 1,
      message: /link: cannot create a folder there; choose another --out/,
      untouched: folder,
    });
    await rm(join(folder, "link"));
  });
  test("a model that is nowhere, a folder without one, a text file", async () => {
    await expectRefusal(train(["--model", join(folder, "none")]), {
      code: 1,
      message: /none: no such folder or file; give a model folder/,
      untouched: folder,
    });
    await expectRefusal(train(["--model", folder]), {
      code: 1,
      message: /there is no config\.json and no \.gguf file/,
      untouched: folder,
    });
    await expectRefusal(train(["--model", tiny.data]), {
      code: 1,
      message: /train\.jsonl: this is not a GGUF file/,
      untouched: folder,
    });
    await expectRefusal(train(["--model", join(tiny.model, "model.safetensors")]), {
      code: 2,
      message: /give the folder that holds config\.json and this file/,
      untouched: folder,
    });
  });
  test("a checkpoint that is broken", async () => {
    const broken = join(folder, "broken");
    await cp(done, broken, { recursive: true });
    await writeFile(join(broken, "checkpoints/step-00000001/state.safetensors"), "x");
    await expectRefusal(train(["--out", broken, "--validation-split", "0", "--resume"]), {
      code: 1,
      message: /state\.safetensors: 1 bytes are too few/,
      untouched: folder,
    });
    await writeFile(join(broken, "run.json"), "[]");
    await expectRefusal(train(["--out", broken, "--validation-split", "0", "--resume"]), {
      code: 1,
      message: /run\.json: this is a list/,
      untouched: folder,
    });
  });
});

test.each([
  [2, ["--max-length", "256"]],
  [1, ["--rank", "4"]],
])("--verbose adds the stack to a message, with exit code %i", async (code, options) => {
  const plain = await mos(train(options));
  const verbose = await mos(train([...options, "--verbose"]));
  expect([plain.code, verbose.code]).toEqual([code, code]);
  expect(verbose.stderr.startsWith(plain.stderr), verbose.stderr).toBe(true);
  expect(verbose.stderr).toMatch(STACK);
});

describe("mos generate", () => {
  test.each<Case>([
    ["--max-length 1", 2, /--max-length.*2 or more/],
    ["--max-length 4", 2, /the prompt has \d+ tokens and leaves no room for an answer within 4; shorten it/],
    ["--prompt ''", 2, /the prompt is empty/],
    ["--prompt-file x", 2, /--prompt.*--prompt-file|--prompt-file.*--prompt/],
    ["--chat --raw", 2, /cannot be used with option/],
    ["--raw --system S", 2, /--system.*--raw/],
    ["--teperature 1", 2, /unknown option '--teperature'; did you mean --temperature\?/],
  ])("%s", async (options, code, message) => {
    await expectRefusal(generate(words(options)), { code, message, untouched: folder });
  });
  test("a prompt longer than the model", async () => {
    const message = /the prompt has \d+ tokens and leaves no room for an answer within 128; shorten it/;
    await expectRefusal(generate(["--prompt", "sea ".repeat(400)]), { code: 2, message, untouched: folder });
  });
  test("two adapters; --compare without one; a prompt file that is not there, or a folder", async () => {
    const bare = ["generate", "--model", tiny.model];
    await expectRefusal([...bare, "--adapter", "one", "--adapter", "two"], {
      code: 2,
      message: /--adapter is given twice: one and two/,
      untouched: folder,
    });
    await expectRefusal([...bare, "--prompt", "Hi", "--compare"], {
      code: 2,
      message: /--compare requires --adapter FOLDER/,
      untouched: folder,
    });
    await expectRefusal([...bare, "--prompt-file", join(folder, "none")], {
      code: 1,
      message: /--prompt-file .*none: no such file or folder/,
      untouched: folder,
    });
    await expectRefusal([...bare, "--prompt-file", folder], {
      code: 1,
      message: /--prompt-file .*: expected a file, found a folder/,
      untouched: folder,
    });
  });
});

describe("mos params", () => {
  test.each<Case>([
    ["", 2, /one of --model, --preset .* or --config is required/],
    ["--preset llama9", 1, /there is no preset "llama9"; known are qwen3\.5-0\.8b, .*llama2-7b/],
    ["--preset __proto__", 1, /there is no preset "__proto__"/],
    ["--preset llama2-7b --model x", 2, /--preset.*--model|--model.*--preset/],
    ["--config /nowhere/config.json", 1, /\/nowhere\/config\.json: no such folder or file/],
    [
      "--preset llama2-7b --rank 1000",
      1,
      /rank 1000 needs 999 shared ranks, but 32 layers .* use a rank of at most 33/,
    ],
    ["--preset llama2-7b --shards-per-vector 3", 1, /does not split into 3 shards/],
    [
      "--preset llama2-7b --method lora --equivalent-rank 2",
      2,
      /--equivalent-rank cannot be used with --method lora/,
    ],
    ["--preset llama2-7b --table --chunks 3", 2, /--chunks cannot be used with --table/],
    ["--preset llama2-7b --table --method vera", 2, /--method cannot be used with --table/],
    [
      "--preset llama2-7b --table --no-pair-dissociation",
      2,
      /: --no-pair-dissociation cannot be used with --t/,
    ],
  ])("%s", async (options, code, message) => {
    await expectRefusal(["params", ...words(options)], { code, message, untouched: folder });
  });
});

test("mos serve: a folder of adapters beside jobs, which have their own", async () => {
  const serve = ["serve", "--model", tiny.model, "--adapters", "mine"];
  const move = /--adapters cannot be used with --state.*: move its folders to s.storage.adapters, or import/;
  await expectRefusal([...serve, "--state", "s"], { code: 2, message: move, untouched: folder });
  const bucket = ["--database-url", "postgres://db/mos", "--storage", "s3://bucket/mos"];
  await expectRefusal([...serve, ...bucket], {
    code: 2,
    message: /--database-url: import each with POST \/v1\/models$/m,
    untouched: folder,
  });
});

test.each<Case>([
  ["trian", 2, /unknown command 'trian'; did you mean train\?/],
  ["frobnicate", 2, /unknown command 'frobnicate'; see mos --help/],
  ["--frobnicate", 2, /unknown option '--frobnicate'/],
  ["help frobnicate", 2, /unknown command 'frobnicate'/],
])("mos %s", async (options, code, message) => {
  await expectRefusal(words(options), { code, message, untouched: folder });
});
