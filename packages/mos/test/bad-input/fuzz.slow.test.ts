// Files that are damaged at random: every command ends with an answer or with its one message, never in between.

import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Random, randomStream } from "mixture-of-shards-core/common";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type TinyFolder, writeTinyFolder } from "../../../core/test/tiny-folder.ts";
import { ggufBytes, tinyGguf } from "../../../core/test/tiny-gguf.ts";
import { tinyModel } from "../../../core/test/tiny-model.ts";
import { mos } from "./run-mos.ts";

const RUNS = 15;

let folder: string;
let tiny: TinyFolder;
let adapter: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-fuzz-"));
  tiny = await writeTinyFolder(folder);
  adapter = join(folder, "adapter");
  expect(await mos([...train, "--model", tiny.model, "--data", tiny.data, "--out", adapter])).toMatchObject({
    code: 0,
  });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const train = [
  "train",
  "--rank",
  "3",
  "--shards-per-vector",
  "2",
  "--max-length",
  "64",
  "--steps",
  "1",
  "--quiet",
  "--validation-split",
  "0",
];

/** Flips a few bytes, cuts the end, leaves a piece out, or doubles one. Most damage is near the beginning. */
function damaged(bytes: Uint8Array, random: Random): Uint8Array {
  const place = (): number => Math.floor(bytes.length * random.uniform() ** 2);
  const [from, to] = [place(), place()].sort((a, b) => a - b) as [number, number];
  const kind = Math.floor(random.uniform() * 4);
  if (kind === 0) return bytes.subarray(0, from);
  if (kind === 1) return Buffer.concat([bytes.subarray(0, from), bytes.subarray(to)]);
  if (kind === 2) return Buffer.concat([bytes.subarray(0, to), bytes.subarray(from)]);
  const changed = Uint8Array.from(bytes);
  for (let i = 0; i < 1 + random.uniform() * 8; i++) changed[place()] = Math.floor(256 * random.uniform());
  return changed;
}

const STRANGE: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  1.5,
  1e300,
  2 ** 31,
  "",
  "x",
  [],
  {},
  [[]],
  [null],
  { type: "x" },
  "9".repeat(50),
];

/** JSON that still parses, with one value somewhere inside replaced, removed or nested. */
function twisted(value: unknown, random: Random): unknown {
  if (typeof value !== "object" || value === null || random.uniform() < 0.15)
    return random.uniform() < 0.2 ? [value] : STRANGE[Math.floor(random.uniform() * STRANGE.length)];
  const copy = structuredClone(value) as Record<string, unknown>;
  const keys = Object.keys(copy);
  // the long tables of a tokenizer would take all the blows
  const key = keys[Math.floor(random.uniform() * Math.min(keys.length, 12))];
  if (key === undefined) return null;
  if (random.uniform() < 0.1) delete copy[key];
  else copy[key] = twisted(copy[key], random);
  return copy;
}

async function expectOrder(args: readonly string[]): Promise<"works" | "refused"> {
  const { code, stderr } = await mos(args);
  if (code === 0) return "works";
  expect(stderr).toMatch(/^mos: /);
  expect(stderr).not.toMatch(/unexpected:|undefined|^ {4}at /m);
  expect(stderr.split("\n").filter((line) => line.startsWith("mos: "))).toHaveLength(1);
  expect([1, 2]).toContain(code);
  return "refused";
}

const generate = (model: string): readonly string[] => [
  "generate",
  "--model",
  model,
  "--prompt",
  "Do you have a cat?",
  "--max-tokens",
  "2",
];
const targets: readonly (readonly [string, (at: string) => string, (at: string) => readonly string[]])[] = [
  [
    "adapter_config.json",
    (at) => join(at, "adapter/adapter_config.json"),
    (at) => [...generate(tiny.model), "--adapter", join(at, "adapter")],
  ],
  [
    "adapter_model.safetensors",
    (at) => join(at, "adapter/adapter_model.safetensors"),
    (at) => [...generate(tiny.model), "--adapter", join(at, "adapter")],
  ],
  ["config.json", (at) => join(at, "model/config.json"), (at) => generate(join(at, "model"))],
  ["model.safetensors", (at) => join(at, "model/model.safetensors"), (at) => generate(join(at, "model"))],
  ["tokenizer.json", (at) => join(at, "model/tokenizer.json"), (at) => generate(join(at, "model"))],
  [
    "tokenizer_config.json",
    (at) => join(at, "model/tokenizer_config.json"),
    (at) => generate(join(at, "model")),
  ],
  [
    "train.jsonl",
    (at) => join(at, "train.jsonl"),
    (at) => [...train, "--model", tiny.model, "--data", join(at, "train.jsonl"), "--out", join(at, "out")],
  ],
];

type Damage = (bytes: Uint8Array, random: Random) => Uint8Array | string;
const ways: readonly (readonly [string, Damage])[] = [
  ["damaged", damaged],
  [
    "twisted",
    (bytes, random) => JSON.stringify(twisted(JSON.parse(Buffer.from(bytes).toString()), random)) ?? "",
  ],
];
const cases = targets.flatMap(([name, file, args]) =>
  ways
    .filter(([way]) => way === "damaged" || name.endsWith(".json"))
    .map(([way, damage]) => ({ way, name, file, args, damage })),
);

test.each(cases)(`${RUNS} times a $way $name`, async ({ way, name, file, args, damage }) => {
  const random = randomStream(0, `${way} ${name}`);
  const outcomes: string[] = [];
  for (let run = 0; run < RUNS; run++) {
    const at = join(folder, `${way}-${name}-${run}`);
    await cp(join(folder, "model"), join(at, "model"), { recursive: true });
    await cp(adapter, join(at, "adapter"), { recursive: true });
    await cp(tiny.data, join(at, "train.jsonl"));
    await writeFile(file(at), damage(await readFile(file(at)), random));
    outcomes.push(await expectOrder(args(at)));
    await rm(at, { recursive: true });
  }
  expect(outcomes).toContain("refused");
});

test(`${RUNS} times a damaged GGUF file`, async () => {
  const random = randomStream(0, "gguf");
  const whole = ggufBytes(tinyGguf(tinyModel()));
  for (let run = 0; run < RUNS; run++) {
    const path = join(folder, `model-${run}.gguf`);
    await writeFile(path, damaged(whole, random));
    await expectOrder(["params", "--model", path, "--rank", "3", "--shards-per-vector", "2"]);
    await expectOrder(generate(path));
  }
});
