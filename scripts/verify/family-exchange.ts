// The half of family_exchange.py that runs in this program.
// usage: node --conditions=source --import tsx scripts/verify/family-exchange.ts FOLDER NAME…
// For each FOLDER/NAME: gives base/ the adapters below, exports each as <adapter>-peft, merges it as <adapter>-merged (and
// into base.gguf, where there is one, as <adapter>-merged-gguf), imports peft/ as imported, and writes the logits of each
// for tokens.json as <adapter>.safetensors.
import { join } from "node:path";
import { loadAdapter, methods, saveAdapter } from "mixture-of-shards-core/adapters";
import { exportAdapter, importAdapter, mergeAdapter } from "mixture-of-shards-core/convert";
import { pathExists, readJson, writeSafetensors } from "mixture-of-shards-core/files";
import { type LoadedModel, loadBase, toLayerShapes } from "mixture-of-shards-core/models";
import { z } from "zod";
import { randomAdapter } from "../../packages/core/test/random-adapter.ts";
import { computeLogits } from "./engine-logits.ts";

const ADAPTERS: Readonly<Record<string, object>> = {
  mos: methods.mos.example,
  lora: { method: "lora", rank: 3, alpha: 7 },
  // parts of fused matrices alone
  some: { method: "lora", rank: 2, alpha: 0.7, targets: ["q_proj", "v_proj", "up_proj", "down_proj"] },
};

async function merge(model: string, adapter: string, out: string): Promise<void> {
  for await (const _ of mergeAdapter({ model, adapter, out, dtype: "float32" })); // events are for terminals
}

async function writeLogits(folder: string, { base, name }: { base: LoadedModel; name: string }) {
  const adapter = await loadAdapter(join(folder, name), {
    shapes: toLayerShapes(base.config),
    fingerprint: base.fingerprint,
  });
  const tokens = await readJson(join(folder, "tokens.json"), z.array(z.array(z.int())), { code: "bad_data" });
  const logits = await computeLogits(base, adapter, tokens);
  await writeSafetensors(join(folder, `${name}.safetensors`), { logits: { dtype: "F32", ...logits } });
}

async function exchange(folder: string): Promise<void> {
  const model = join(folder, "base");
  const base = await loadBase(model);
  const { fingerprint, identity } = base;
  for (const [name, settings] of Object.entries(ADAPTERS)) {
    const adapter = join(folder, name);
    const numbers = { seed: 7, deviation: 0.1, only: "zeros" } as const;
    await saveAdapter(adapter, randomAdapter(settings, toLayerShapes(base.config), numbers), {
      base: { name: "base", fingerprint, identity },
    });
    await exportAdapter({ adapter, model, format: "peft", out: `${adapter}-peft` });
    await merge(model, adapter, `${adapter}-merged`);
    await writeLogits(folder, { base, name });
  }
  const gguf = join(folder, "base.gguf");
  if (await pathExists(gguf)) await merge(gguf, join(folder, "mos"), join(folder, "mos-merged-gguf"));
  await importAdapter({ folder: join(folder, "peft"), model, out: join(folder, "imported") });
  await writeLogits(folder, { base, name: "imported" });
}

const [folder, ...names] = process.argv.slice(2);
if (folder === undefined) throw new Error("usage: family-exchange.ts FOLDER NAME…");
for (const name of names) await exchange(join(folder, name));
