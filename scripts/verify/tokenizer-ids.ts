// Whether a model's tokenizer, from its GGUF file or its folder, gives transformers' ids for the texts of
// scripts/verify/tokenizer_text.py, and whether these decode to its texts, at once and id by id.
// usage: node --conditions=source --import tsx scripts/verify/tokenizer-ids.ts MODEL IDS.jsonl.gz [--json]
// Exits with 1 where any text differs.
import { parseArgs } from "node:util";
import { loadTextFromFolder } from "#text";
import { readGgufText, readLines, wrongLines } from "../../test/tokenizer-lines.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: "boolean", default: false } },
});
const [model, packed] = positionals;
if (model === undefined || packed === undefined)
  throw new Error("usage: tokenizer-ids.ts MODEL IDS.jsonl.gz [--json]");

const lines = readLines(packed);
const { tokenizer } = await (model.endsWith(".gguf") ? readGgufText(model) : loadTextFromFolder(model));
const found = Object.entries(wrongLines(tokenizer, lines));
const counts = Object.fromEntries(found.map(([what, wrong]) => [what, wrong.length]));
if (values.json) console.log(JSON.stringify({ texts: lines.length, differ: counts }));
else {
  console.log(`${lines.length} texts; that differ: ${JSON.stringify(counts)}`);
  for (const [what, wrong] of found)
    for (const { text, ids } of wrong.slice(0, 3))
      console.log(`${what}: ${JSON.stringify({ text, ids, here: tokenizer.encode(text) })}`);
}
if (found.some(([, wrong]) => wrong.length > 0)) process.exitCode = 1;
