// The half of the checks with PEFT and transformers that runs in this program: logits for the tokens of FOLDER/tokens.json.
// usage: node --conditions=source --import tsx scripts/verify/logits.ts CHECK BASE FOLDER NAME…
//   adapters   writes FOLDER/NAME.safetensors for each adapter FOLDER/NAME
//   lora       loads FOLDER/peft and saves it as FOLDER/ours, makes a LoRA of its own as FOLDER/own, and writes
//              FOLDER/{ours,own}.safetensors (peft_loads_lora.py)
//   merged     merges each adapter FOLDER/adapters/NAME into BASE as FOLDER/merged/NAME in float32, and writes
//              FOLDER/NAME.safetensors. Where FOLDER/texts.json is, writes the ids of its texts as FOLDER/ids.json, and the
//              chat of its texts as FOLDER/chat.txt (merged_folder.py)
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Adapter, loadAdapter, saveAdapter } from "mixture-of-shards-core/adapters";
import { mergeAdapter } from "mixture-of-shards-core/convert";
import { pathExists, readJson, writeSafetensors } from "mixture-of-shards-core/files";
import { loadBase, loadModel, toLayerShapes } from "mixture-of-shards-core/models";
import { z } from "zod";
import { randomAdapter } from "../../packages/core/test/random-adapter.ts";
import { computeLogits } from "./engine-logits.ts";

const [check = "", base = "", folder = "", ...names] = process.argv.slice(2);
if (folder === "") throw new Error("usage: logits.ts adapters|lora|merged BASE FOLDER NAME…");
const loaded = await loadBase(base);
const { config, fingerprint } = loaded;
const shapes = toLayerShapes(config);
const rows = await readJson(join(folder, "tokens.json"), z.array(z.array(z.int())), { code: "bad_data" });

async function writeLogits(name: string, adapter: Adapter): Promise<void> {
  const logits = await computeLogits(loaded, adapter, rows);
  await writeSafetensors(join(folder, `${name}.safetensors`), { logits: { dtype: "F32", ...logits } });
}

async function checkLora(): Promise<void> {
  // unlike settings, with random numbers
  const settings = { method: "lora", rank: 4, alpha: 6, targets: ["q_proj", "v_proj", "down_proj"] };
  for (const [name, adapter] of [
    ["ours", await loadAdapter(join(folder, "peft"), { shapes, fingerprint })],
    ["own", randomAdapter(settings, shapes, { seed: 1, deviation: 0.1 })],
  ] as const) {
    await saveAdapter(join(folder, name), adapter, { base: { name: base, fingerprint } });
    await writeLogits(name, adapter);
    console.log(`${name}: ${adapter.tensors.size} tensors, rank ${adapter.config.rank}`);
  }
}

async function writeTexts(): Promise<void> {
  const texts = z.array(z.string()).parse(JSON.parse(await readFile(join(folder, "texts.json"), "utf8")));
  const { tokenizer, template } = (await loadModel(base)).text;
  await writeFile(join(folder, "ids.json"), JSON.stringify(texts.map((text) => tokenizer.encode(text))));
  const messages = texts.map((content, i) => ({ role: i % 2 === 0 ? "user" : "assistant", content }));
  await writeFile(join(folder, "chat.txt"), template.render(messages, { addGenerationPrompt: true }));
}

if (check === "lora") await checkLora();
for (const name of names) {
  const path = join(folder, check === "merged" ? "adapters" : "", name);
  if (check === "merged") {
    const out = join(folder, "merged", name);
    for await (const event of mergeAdapter({ model: base, adapter: path, out, dtype: "float32" }))
      if (event.type === "finish") console.log(`${name}: ${event.bytes} bytes`);
  }
  await writeLogits(name, await loadAdapter(path, { shapes, fingerprint }));
}
if (check === "merged" && (await pathExists(join(folder, "texts.json")))) await writeTexts();
