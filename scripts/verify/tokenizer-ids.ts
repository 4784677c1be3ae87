// Whether a model's tokenizer, from its GGUF file or its folder, gives the ids of its own tokenizer for the texts of
// scripts/verify/tokenizer_text.py, and whether these decode to its texts, at once and id by id. With --llama, also for how
// many texts llama.cpp gives other ids for a GGUF file; docs/reference/models.md names the kinds, which are no failure.
// usage: node --conditions=source --import tsx scripts/verify/tokenizer-ids.ts MODEL IDS.jsonl.gz [--json]
//   [--llama PATH/TO/node_modules]
// Exits with 1 where any text differs from the model's own tokenizer.
import { parseArgs } from "node:util";
import { loadTextFromFolder } from "mixture-of-shards-core/text";
import { readGgufText, readLines, wrongLines } from "../../packages/core/test/tokenizer-lines.ts";
import { openLlama } from "./llama.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: "boolean", default: false }, llama: { type: "string" } },
});
const [model, packed] = positionals;
if (model === undefined || packed === undefined)
  throw new Error("usage: tokenizer-ids.ts MODEL IDS.jsonl.gz [--json] [--llama PATH/TO/node_modules]");

const lines = readLines(packed);
const { tokenizer } = await (model.endsWith(".gguf") ? readGgufText(model) : loadTextFromFolder(model));
const found = Object.entries(wrongLines(tokenizer, lines));
const counts = Object.fromEntries(found.map(([what, wrong]) => [what, wrong.length]));
const llama = values.llama === undefined ? undefined : await differFromLlama(model, values.llama);
const differ = { ...counts, ...(llama === undefined ? {} : { llama: llama.length }) };
if (values.json) console.log(JSON.stringify({ texts: lines.length, differ }));
else {
  console.log(`${lines.length} texts; that differ: ${JSON.stringify(differ)}`);
  for (const [what, wrong] of found)
    for (const { text, ids } of wrong.slice(0, 3))
      console.log(`${what}: ${JSON.stringify({ text, ids, here: tokenizer.encode(text) })}`);
  for (const { text, theirs } of (llama ?? []).slice(0, 10))
    console.log(`llama.cpp: ${JSON.stringify({ text, theirs, here: plainIds(text) })}`);
}
process.exit(found.some(([, wrong]) => wrong.length > 0) ? 1 : 0);

function plainIds(text: string): number[] {
  return tokenizer.encode(text, { addSpecialTokens: false });
}

async function differFromLlama(file: string, modules: string) {
  const loaded = await (await openLlama(modules)).loadModel({ modelPath: file, vocabOnly: true });
  return lines.flatMap(({ text }) => {
    const theirs = loaded.tokenize(text, true);
    return plainIds(text).join() === theirs.join() ? [] : [{ text, theirs: [...theirs] }];
  });
}
