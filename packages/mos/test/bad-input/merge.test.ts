// `mos merge` and `mos inspect` on what cannot be merged or inspected.

import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createAdapter, parseAdapterConfig, saveAdapter } from "mixture-of-shards-core/adapters";
import { writeSafetensors } from "mixture-of-shards-core/files";
import { floatTensors, loadBase, toLayerShapes } from "mixture-of-shards-core/models";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { tinyGguf, writeGguf } from "../../../core/test/tiny-gguf.ts";
import { asTensors, writeTinyModel } from "../../../core/test/tiny-model.ts";
import { expectRefusal, mos, snapshot } from "./run-mos.ts";

let folder = "";
let model = "";
let adapter = "";
let other = "";
const at = (name: string): string => join(folder, name);
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-bad-merge-"));
  [model, adapter, other] = [at("model"), at("adapter"), at("other")];
  await writeTinyModel(model);
  await writeTinyModel(other, { seed: 1 });
  await newAdapter({ method: "mos", rank: 3, shardsPerVector: 2 }, adapter);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function newAdapter(settings: unknown, path: string): Promise<void> {
  const { config, fingerprint } = await loadBase(model);
  const made = createAdapter(parseAdapterConfig(settings), toLayerShapes(config));
  await saveAdapter(path, made, { base: { name: "model", fingerprint } });
}

const merge = (base: string, ...more: readonly string[]): readonly string[] => [
  ...["merge", adapter, "--model", base, "--out", at("out"), ...more],
];
afterEach(() => rm(at("out"), { recursive: true, force: true }));
const refusal = (args: readonly string[], message: RegExp, code: 1 | 2 = 1) =>
  expectRefusal(args, { code, message, untouched: folder });

/** A copy of the model whose weights lie in two shards. */
async function sharded(name: string): Promise<string> {
  const path = at(name);
  await cp(model, path, { recursive: true });
  await rm(join(path, "model.safetensors"));
  const tensors = Object.entries(
    asTensors(floatTensors((await loadBase(model, { baseDtype: "float32" })).weights)),
  );
  const parts = [tensors.slice(0, 9), tensors.slice(9)];
  const homes: Record<string, string> = {};
  for (const [i, part] of parts.entries()) {
    const file = `model-0000${i + 1}-of-00002.safetensors`;
    await writeSafetensors(join(path, file), Object.fromEntries(part));
    for (const [tensor] of part) homes[tensor] = file;
  }
  await writeFile(join(path, "model.safetensors.index.json"), JSON.stringify({ weight_map: homes }));
  return path;
}

test("a place that is taken, by a folder or by a file", async () => {
  await mkdir(at("taken"));
  await writeFile(at("file"), "mine");
  for (const name of ["taken", "file", "model"])
    await refusal(
      ["merge", adapter, "--model", model, "--out", at(name)],
      /already exists; choose another name, or remove it/,
      2,
    );
});

test("a place in folders that are not there is made, and they are named", async () => {
  const [deep, below] = [at("typo"), join(at("typo"), "below")];
  const args = ["merge", adapter, "--model", model, "--out"];
  const made = await mos([...args, join(below, "out")]);
  expect([made.code, made.stderr]).toEqual([0, ""]);
  expect(made.stdout.replace(/\s+/g, " ")).toContain(`made for it: ${deep}, ${below}`);
  expect((await mos([...args, join(below, "again")])).stdout).not.toContain("made for it");
  await rm(deep, { recursive: true });
});

test("a place that has no name", async () => {
  for (const name of ["", "..", "/"])
    await refusal(["merge", adapter, "--model", model, "--out", name], /cannot be an output/, 2);
  const file = ["merge", adapter, "--model", model, "--out", at("out.gguf")];
  await refusal(file, /out\.gguf: a GGUF file is merged of a GGUF base.*convert_hf_to_gguf/, 2);
});

test("another base, of the same shape and of another", async () => {
  await refusal(merge(other), /was trained on another base: model \(sha256:.*use the base it was trained on/);
  const wide = at("wide");
  await writeTinyModel(wide, { overrides: { hidden_size: 32, head_dim: 8 } });
  await refusal(merge(wide), /A_pool has shape|was trained on another base/);
});

test("no model, no adapter, no options", async () => {
  await refusal(merge(at("absent")), /no such folder or file/);
  await refusal(["merge", at("absent"), "--model", model, "--out", at("out")], /no adapter here/);
  await refusal(["merge", adapter, "--out", at("out")], /required option '--model <model>' not specified/, 2);
  await refusal(["merge", "--model", model, "--out", at("out")], /missing required argument 'adapter'/, 2);
  await refusal(merge(model, "--dtype", "int8"), /Expected one of float32, float16, bfloat16/, 2);
  for (const size of ["0GB", "-1GB", "5XB", "much", ""])
    await refusal(merge(model, "--shard-size", size), /Expected a size of 1B or more, such as 500MB/, 2);
});

test("a shard that is cut short, or missing, or broken", async () => {
  const cut = await sharded("cut");
  const second = join(cut, "model-00002-of-00002.safetensors");
  const bytes = await readFile(second);
  await writeFile(second, bytes.subarray(0, bytes.length - 100));
  await refusal(merge(cut), /model-00002-of-00002\.safetensors: .*cut short or damaged; download it again/);
  await rm(second);
  await refusal(merge(cut), /the index names this shard, but it is missing; download it/);
  bytes.fill(0xff, bytes.length - 8); // NaN
  await writeFile(second, bytes);
  await refusal(merge(cut), /holds the value NaN at .*the file is damaged/);
});

test("a file for a parent folder", async () => {
  await writeFile(at("plain"), "x");
  await refusal(
    ["merge", adapter, "--model", model, "--out", join(at("plain"), "out")],
    /a file is in the way, by this name or on the path to it/,
  );
});

test("a GGUF file without a tokenizer", async () => {
  const path = at("bare.gguf");
  await writeGguf(path, tinyGguf(await writeTinyModel(at("again"))));
  await refusal(merge(path), /tokenizer\.ggml\.model is missing; the file holds no tokenizer/);
});

test("inspect: no adapter, and one that needs its base's config", async () => {
  await refusal(["inspect", at("absent")], /no adapter here/);
  await newAdapter({ method: "vera", rank: 4 }, at("vera"));
  await refusal(["inspect", at("vera")], /a vera adapter does not record .*pass --model too/, 2);
  const told = await mos(["inspect", at("vera"), "--model", model]);
  expect(told).toMatchObject({ code: 0, stderr: "" });
  expect(told.stdout).toContain("this adapter is untrained");
  await refusal(["inspect", adapter, "--model", at("absent")], /no such folder or file/);
});

const mount = (...args: readonly string[]): void => {
  execFileSync("mount", args, { stdio: "ignore" });
};
function canMount(): boolean {
  const probe = join(tmpdir(), `mos-merge-mount-${process.pid}`);
  try {
    mkdirSync(probe);
    mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", probe);
    execFileSync("umount", [probe]);
    return true;
  } catch {
    return false;
  }
}
const mountable = process.platform === "linux" && canMount();

test.skipIf(!mountable)(
  "a disk that is too small, or fills up midway (needs the right to mount)",
  async () => {
    const disk = at("disk");
    await mkdir(disk);
    mount("-t", "tmpfs", "-o", "size=24k", "tmpfs", disk);
    try {
      const small = await mos([
        "merge",
        adapter,
        "--model",
        model,
        "--out",
        join(disk, "deep", "out"),
        "--quiet",
      ]);
      expect(small).toMatchObject({ code: 1, stdout: "" });
      expect(small.stderr).toMatch(
        /the merged model takes 28\.0 kB, but its disk has .* free; free some space, or choose another folder\n$/,
      );
      expect(await readdir(disk)).toEqual([]);
      mount("-o", "remount,size=32k", disk);
      const full = await mos(["merge", adapter, "--model", model, "--out", join(disk, "out"), "--quiet"]);
      expect(full).toMatchObject({ code: 1, stdout: "" });
      expect(full.stderr).toMatch(/the disk is full; free some space or choose another folder\n$/);
      expect(full.stderr).not.toContain(".partial");
      expect(await readdir(disk)).toEqual([]);
    } finally {
      execFileSync("umount", [disk]);
    }
  },
);

test("nothing of all that wrote anything, and the merge itself leaves base and adapter alone", async () => {
  const before = [await snapshot(model), await snapshot(adapter)];
  const ended = await mos(merge(model, "--json"));
  expect(ended).toMatchObject({ code: 0, stderr: "" });
  const events = ended.stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(events[0]).toMatchObject({ type: "plan", dtype: "float32", tensors: 21 });
  expect(events.at(-1)).toMatchObject({ type: "finish", files: ["model.safetensors"] });
  expect([await snapshot(model), await snapshot(adapter)]).toEqual(before);
});
