// The half of merged_folder.py that runs in this program.
// usage: node --conditions=source --import tsx scripts/verify/merged-logits.ts BASE FOLDER NAME...
// For each adapter FOLDER/adapters/NAME: merges it into BASE as FOLDER/merged/NAME in float32, and writes the logits of
// base and adapter for the tokens of FOLDER/tokens.json as FOLDER/NAME.safetensors. Where FOLDER/texts.json is, writes the ids
// of its texts as FOLDER/ids.json, and the chat of its texts as FOLDER/chat.txt.
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { loadAdapter } from "#adapters";
import { mergeAdapter } from "#convert";
import { pathExists, readJson, writeSafetensors } from "#files";
import { loadBase, loadModel, toLayerShapes } from "#models";
import { computeLogits } from "./engine-logits.ts";

const [base, folder, ...names] = process.argv.slice(2);
if (base === undefined || folder === undefined)
  throw new Error("usage: merged-logits.ts BASE FOLDER NAME...");
const loaded = await loadBase(base);
const { config, fingerprint } = loaded;
const rows = await readJson(join(folder, "tokens.json"), z.array(z.array(z.int())), { code: "bad_data" });
for (const name of names) {
  const path = join(folder, "adapters", name);
  const out = join(folder, "merged", name);
  for await (const event of mergeAdapter({ model: base, adapter: path, out, dtype: "float32" }))
    if (event.type === "finish") console.log(`${name}: ${event.bytes} bytes`);
  const adapter = await loadAdapter(path, { shapes: toLayerShapes(config), fingerprint });
  const logits = await computeLogits(loaded, adapter, rows);
  await writeSafetensors(join(folder, `${name}.safetensors`), { logits: { dtype: "F32", ...logits } });
}
if (await pathExists(join(folder, "texts.json"))) {
  const texts = z.array(z.string()).parse(JSON.parse(await readFile(join(folder, "texts.json"), "utf8")));
  const { tokenizer, template } = (await loadModel(base)).text;
  await writeFile(join(folder, "ids.json"), JSON.stringify(texts.map((text) => tokenizer.encode(text))));
  const messages = texts.map((content, i) => ({ role: i % 2 === 0 ? "user" : "assistant", content }));
  await writeFile(join(folder, "chat.txt"), template.render(messages, { addGenerationPrompt: true }));
}
