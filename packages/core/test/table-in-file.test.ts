// Embeddings of each layer (Gemma 4) that stay in their file: a run learns the same from them, and holds fewer bytes.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openSafetensors, type WritableTensor, writeSafetensors } from "#files";
import { baseBytes, LAYER_EMBEDDINGS, loadModel, type Weight } from "#models";
import { finetune } from "#training";
import { killableBy } from "./finetune-options.ts";
import { TINY_FAMILIES } from "./tiny-families.ts";
import { writeTinyFolder } from "./tiny-folder.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-table-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const bytesOf = (weights: ReadonlyMap<string, Weight>): number =>
  [...weights.values()]
    .flatMap(({ parts }) => Object.values(parts))
    .reduce((sum, { byteLength }) => sum + byteLength, 0);

test.each(["F32", "BF16"] as const)("a table of %s", async (dtype) => {
  const at = join(folder, dtype);
  const { model } = await writeTinyFolder(at, TINY_FAMILIES["gemma4"]);
  const path = join(model, "model.safetensors");
  const tensors: Record<string, WritableTensor> = {};
  {
    await using stored = await openSafetensors(path);
    for (const [name, { shape }] of stored.tensors)
      tensors[name] = { dtype, shape, data: await stored.readFloat32(name) };
  }
  await writeSafetensors(path, tensors);
  const whole = await loadModel(model);
  const apart = await loadModel(model, { tableInFile: true });
  expect(apart.model.fingerprint).toBe(whole.model.fingerprint);
  expect(apart.model.weights.get(LAYER_EMBEDDINGS)).toMatchObject({ parts: {}, format: { inFile: true } });
  const { weights, config } = apart.model;
  expect(baseBytes(config, new Map([...weights].map(([name, { format }]) => [name, format])))).toBe(
    bytesOf(weights),
  );
  // both sample answers too, by an engine that holds other weights in a file of its own
  const run = async (base: typeof whole | string, name: string): Promise<Buffer> => {
    const { settings, ...rest } = killableBy["prompts"]!;
    const options = { ...rest, settings: { ...settings, steps: 2, saveEvery: 0, evaluateEvery: 0 } };
    const out = join(at, name);
    for await (const event of finetune({ ...options, model: base, out })) void event;
    return readFile(join(out, "adapter_model.safetensors"));
  };
  expect(await run(model, "apart")).toEqual(await run(whole, "whole"));
});
