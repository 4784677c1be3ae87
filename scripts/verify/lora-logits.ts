// The half of peft_loads_lora.py that runs in this program.
// usage: node --conditions=source --import tsx scripts/verify/lora-logits.ts BASE FOLDER
// Loads FOLDER/peft and saves it as FOLDER/ours, makes a LoRA of its own as FOLDER/own, and writes the logits that this
// engine computes with each for the tokens of FOLDER/tokens.json as FOLDER/<name>.safetensors.
import { join } from "node:path";
import { z } from "zod";
import { type Adapter, loadAdapter, saveAdapter } from "#adapters";
import { readJson, writeSafetensors } from "#files";
import { type LoadedModel, loadBase, toLayerShapes } from "#models";
import { randomAdapter } from "../../test/random-adapter.ts";
import { computeLogits } from "./engine-logits.ts";

/** A LoRA of unlike settings with random numbers in it. */
function ownAdapter({ config }: LoadedModel): Adapter {
  const settings = { method: "lora", rank: 4, alpha: 6, targets: ["q_proj", "v_proj", "down_proj"] };
  return randomAdapter(settings, toLayerShapes(config), { seed: 1, deviation: 0.1 });
}

const [base, folder] = process.argv.slice(2);
if (base === undefined || folder === undefined) throw new Error("usage: lora-logits.ts BASE FOLDER");
const loaded = await loadBase(base);
const rows = await readJson(join(folder, "tokens.json"), z.array(z.array(z.int())), { code: "bad_data" });
const { config, fingerprint } = loaded;
const given = await loadAdapter(join(folder, "peft"), { shapes: toLayerShapes(config), fingerprint });
for (const [name, adapter] of [
  ["ours", given],
  ["own", ownAdapter(loaded)],
] as const) {
  await saveAdapter(join(folder, name), adapter, { base: { name: base, fingerprint } });
  const logits = await computeLogits(loaded, adapter, rows);
  await writeSafetensors(join(folder, `${name}.safetensors`), { logits: { dtype: "F32", ...logits } });
  console.log(`${name}: ${adapter.tensors.size} tensors, rank ${adapter.config.rank}`);
}
