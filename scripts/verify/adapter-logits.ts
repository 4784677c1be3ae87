// The logits of this engine with several adapters.
// usage: node --conditions=source --import tsx scripts/verify/adapter-logits.ts BASE FOLDER NAME…
// Writes FOLDER/<name>.safetensors for the adapter FOLDER/<name> and the tokens of FOLDER/tokens.json.
import { join } from "node:path";
import { z } from "zod";
import { loadAdapter } from "#adapters";
import { readJson, writeSafetensors } from "#files";
import { loadBase, toLayerShapes } from "#models";
import { computeLogits } from "./engine-logits.ts";

const [base, folder, ...names] = process.argv.slice(2);
if (base === undefined || folder === undefined) throw new Error("usage: adapter-logits.ts BASE FOLDER NAME…");
const loaded = await loadBase(base);
const rows = await readJson(join(folder, "tokens.json"), z.array(z.array(z.int())), { code: "bad_data" });
for (const name of names) {
  const { config, fingerprint } = loaded;
  const adapter = await loadAdapter(join(folder, name), { shapes: toLayerShapes(config), fingerprint });
  const logits = await computeLogits(loaded, adapter, rows);
  await writeSafetensors(join(folder, `${name}.safetensors`), { logits: { dtype: "F32", ...logits } });
}
