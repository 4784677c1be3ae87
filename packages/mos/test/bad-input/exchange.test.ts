// Adapters that cannot be exported or imported, as `mos export` and `mos import` meet them.

import { cp, mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createAdapter, methods, parseAdapterConfig, saveAdapter } from "mixture-of-shards-core/adapters";
import { loadBase, toLayerShapes } from "mixture-of-shards-core/models";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { tinyGguf, writeGguf } from "../../../core/test/tiny-gguf.ts";
import { writeTinyModel } from "../../../core/test/tiny-model.ts";
import { expectRefusal, mos } from "./run-mos.ts";

let folder: string;
let model: string;
let adapter: string;
let peft: string;
/** A model in GGUF. */
let other: string;
/** A copy of the PEFT folder for one test. */
let given: string;
let count = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-bad-exchange-"));
  model = join(folder, "model");
  other = join(folder, "other.gguf");
  await writeGguf(other, tinyGguf(await writeTinyModel(model)));
  adapter = join(folder, "adapter");
  peft = join(folder, "peft");
  const { config, fingerprint } = await loadBase(model);
  const made = createAdapter(parseAdapterConfig(methods.mos.example), toLayerShapes(config));
  await saveAdapter(adapter, made, { base: { name: "org/tiny", fingerprint } });
  const done = await mos(["export", adapter, "--model", model, "--format", "peft", "--out", peft, "--json"]);
  expect(JSON.parse(done.stdout)).toMatchObject({ method: "mos", rank: 3, alpha: 16, baseName: "org/tiny" });
});
afterAll(() => rm(folder, { recursive: true, force: true }));
beforeEach(async () => {
  given = join(folder, `given-${count++}`);
  await cp(peft, given, { recursive: true });
});

const TENSORS = "adapter_model.safetensors";
const CONFIG = "adapter_config.json";
const exporting = (...rest: readonly string[]): readonly string[] => [
  ...["export", adapter, "--model", model, "--format"],
  ...rest,
];
const importing = (...rest: readonly string[]): readonly string[] => [
  ...["import", given, "--model", model, "--out", join(folder, "new")],
  ...rest,
];
const editConfig = async (change: Readonly<Record<string, unknown>>): Promise<void> => {
  const fields = JSON.parse(await readFile(join(given, CONFIG), "utf8"));
  await writeFile(join(given, CONFIG), JSON.stringify({ ...fields, ...change }));
};

describe("mos export", () => {
  test.each<[string, () => readonly string[], 1 | 2, RegExp]>([
    [
      "no format",
      () => ["export", adapter, "--model", model, "--out", "x"],
      2,
      /'--format <name>' not specified/,
    ],
    ["an unknown format", () => exporting("onnx", "--out", "x"), 2, /Expected one of peft, gguf/],
    [
      "an unknown dtype",
      () => exporting("peft", "--out", "x", "--dtype", "int8"),
      2,
      /Expected one of float32, float16, bfloat16/,
    ],
    [
      "no adapter",
      () => ["export", join(folder, "none"), "--model", model, "--format", "peft", "--out", "x"],
      1,
      /none: no adapter here/,
    ],
    [
      "no model",
      () => ["export", adapter, "--model", join(folder, "none"), "--format", "peft", "--out", "x"],
      1,
      /none: no such folder or file/,
    ],
    [
      "a folder that is taken",
      () => exporting("peft", "--out", given),
      2,
      /given-\d+ already holds an adapter; add --overwrite to replace it/,
    ],
    [
      "a folder with other files",
      () => exporting("peft", "--out", model, "--overwrite"),
      2,
      /model is the input; choose another output/,
    ],
    [
      "the adapter itself",
      () => exporting("peft", "--out", join(adapter, "..", "adapter"), "--overwrite"),
      2,
      /adapter is the input; choose another output/,
    ],
    [
      "a file in place of a folder",
      () => exporting("peft", "--out", join(model, "config.json"), "--overwrite"),
      2,
      /config\.json is a file; name a folder/,
    ],
    [
      "a file that is taken",
      () => exporting("gguf", "--out", join(model, "config.json")),
      2,
      /config\.json is not an adapter in GGUF and would be lost; choose another name/,
    ],
    [
      "a file of the adapter that is read",
      () => exporting("gguf", "--out", join(adapter, TENSORS), "--overwrite"),
      2,
      /adapter_model\.safetensors is not an adapter in GGUF and would be lost/,
    ],
    [
      "a GGUF file that is a model",
      () => exporting("gguf", "--out", other, "--overwrite"),
      2,
      /other\.gguf is not an adapter in GGUF and would be lost/,
    ],
    [
      "a folder in place of a file",
      () => exporting("gguf", "--out", given, "--overwrite"),
      2,
      /given-\d+ is a folder; name a file/,
    ],
    ["no name", () => exporting("peft", "--out", ""), 2, /"" cannot be an output; name a file or folder/],
    ["this folder", () => exporting("peft", "--out", "."), 2, /"\." cannot be an output/],
    [
      "a place below a file",
      () => exporting("gguf", "--out", join(model, "config.json", "x.gguf")),
      1,
      /config\.json/,
    ],
  ])("%s", async (_, args, code, message) => {
    await expectRefusal(args(), { code, message, untouched: folder });
  });

  test("--overwrite never loses files that do not belong to an adapter", async () => {
    await writeFile(join(given, "notes.txt"), "mine");
    const message = /given-\d+ holds notes\.txt, which is not part of an adapter and would be lost/;
    await expectRefusal(exporting("peft", "--out", given, "--overwrite"), {
      code: 2,
      message,
      untouched: folder,
    });
  });

  test("--overwrite replaces an earlier result, and makes folders on the way", async () => {
    expect(await mos(exporting("peft", "--out", given, "--overwrite", "--dtype", "float16"))).toMatchObject({
      code: 0,
    });
    const [small, large] = await Promise.all([given, peft].map((at) => stat(join(at, TENSORS))));
    expect(small!.size).toBeLessThan(large!.size);
    const out = join(given, "some", "where", "lora.gguf");
    const done = await mos(exporting("gguf", "--out", out));
    expect(done).toMatchObject({ code: 0, stderr: "" });
    expect(done.stdout).toContain("llama-cli --model ./base.gguf --lora");
    expect((await readFile(out)).subarray(0, 4).toString()).toBe("GGUF");
    const message = /lora\.gguf already exists; add --overwrite to replace it/;
    await expectRefusal(exporting("gguf", "--out", out), { code: 2, message, untouched: folder });
    expect(await mos(exporting("gguf", "--out", out, "--overwrite"))).toMatchObject({ code: 0 });
  });
});

describe("mos import", () => {
  test.each<[string, () => Promise<unknown>, RegExp]>([
    ["no config", () => rm(join(given, CONFIG)), /no adapter here \(there is no adapter_config\.json\)/],
    ["no tensors", () => rm(join(given, TENSORS)), /adapter_model\.safetensors is missing/],
    [
      "a broken config",
      () => writeFile(join(given, CONFIG), '{"peft_type": "LORA",'),
      /adapter_config\.json: not valid JSON/,
    ],
    [
      "a config that is a list",
      () => writeFile(join(given, CONFIG), "[1]"),
      /this is a list; expected an object/,
    ],
    ["an unknown peft_type", () => editConfig({ peft_type: "IA3" }), /peft_type "IA3" is not a LoRA/],
    ["no rank", () => editConfig({ r: undefined }), /field "r" is missing; expected a number/],
    ["another rank", () => editConfig({ r: 4 }), /has rank 3, adapter_config\.json says 4/],
    [
      "an alpha that is none",
      () => editConfig({ lora_alpha: null }),
      /field "lora_alpha" is null; expected a number/,
    ],
    [
      "a pattern that is not a number",
      () => editConfig({ rank_pattern: { q_proj: "8" } }),
      /field "rank_pattern\.q_proj" is "8"; expected a number/,
    ],
    [
      "DoRA",
      () => editConfig({ use_dora: true }),
      /use_dora is true: DoRA also trains magnitudes.*merge_and_unload/,
    ],
    [
      "another base",
      () => editConfig({ base_fingerprint: `sha256:${"0".repeat(64)}` }),
      /was trained on another base: org\/tiny \(sha256:0/,
    ],
    [
      "tensors cut short",
      async () => writeFile(join(given, TENSORS), (await readFile(join(given, TENSORS))).subarray(0, 3000)),
      /cut short/,
    ],
    [
      "a huge header",
      async () => {
        const bytes = await readFile(join(given, TENSORS));
        bytes.writeBigUInt64LE(1n << 50n, 0);
        await writeFile(join(given, TENSORS), bytes);
      },
      /the header claims 1125899906842624 bytes, but the file has/,
    ],
    [
      "tensors that are a text",
      () => writeFile(join(given, TENSORS), "hello, hello, hello"),
      /not a safetensors file/,
    ],
    [
      "pickled tensors",
      async () => {
        await rm(join(given, TENSORS));
        await writeFile(join(given, "adapter_model.bin"), "cos\nsystem\n");
      },
      /adapter_model\.bin may contain code and is never read/,
    ],
  ])("%s", async (_, arrange, message) => {
    await arrange();
    await expectRefusal(importing(), { code: 1, message, untouched: folder });
  });

  test("a model of another shape", async () => {
    const other = join(folder, "other");
    await writeTinyModel(other, { overrides: { hidden_size: 32, head_dim: 8 } });
    const args = ["import", given, "--model", other, "--out", join(folder, "new")];
    const message = /lora_B\.weight has shape \[16, 3\], but this base and its A need \[32, 3\]/;
    await expectRefusal(args, { code: 1, message, untouched: folder });
  });

  test("options that cannot be used", async () => {
    const refuse = (args: readonly string[], message: RegExp) =>
      expectRefusal(args, { code: 2, message, untouched: folder });
    await refuse(importing("--from", "vllm"), /Expected one of peft, mos-official/);
    await refuse(["import", given, "--model", model, "--out", adapter], /adapter already holds an adapter/);
    await refuse(["import", given, "--model", model, "--out", given, "--overwrite"], /is the input/);
    await refuse(["import", "--model", model, "--out", "x"], /missing required argument 'folder'/);
  });

  test("an import is reported, and its adapter can be used", async () => {
    const out = join(given, "imported");
    await editConfig({ alpha_pattern: { "layers.0.self_attn.k_proj": 8 }, use_rslora: true });
    const done = await mos(["import", given, "--model", model, "--out", out]);
    expect(done).toMatchObject({ code: 0, stderr: "" });
    expect(done.stdout).toMatch(/adapter +lora: rank 3, alpha 27\.7128; on q, k, v, o, gate, up, down/);
    expect(done.stdout).toMatch(/scales +1 linear layer of another scale, folded into B/);
    const args = ["export", out, "--model", model, "--format", "gguf", "--out", join(given, "x.gguf")];
    expect(await mos(args)).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/ollama create x --file \S*\/x\.Modelfile/),
    });
    expect(await readFile(join(given, "x.Modelfile"), "utf8")).toMatch(
      /^FROM \.\/base\.gguf\nADAPTER \.\/x\.gguf\n/,
    );
    expect(await mos(["generate", "--model", join(given, "x.gguf"), "--prompt", "Hi"])).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(
        /x\.gguf: this is an adapter for llama\.cpp; give the model that it adapts/,
      ),
    });
    await mkdir(join(given, "empty"));
    expect(await mos(["import", given, "--model", model, "--out", join(given, "empty")])).toMatchObject({
      code: 0,
    });
  });
});
