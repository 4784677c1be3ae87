// Whether a model's tokenizer, from its GGUF file or its folder, gives transformers' ids for the texts of
// scripts/verify/tokenizer_text.py, and whether these decode to its texts, at once and id by id.
// usage: node --conditions=source --import tsx scripts/verify/tokenizer-ids.ts MODEL IDS.jsonl.gz [--json]
// Exits with 1 where any text differs.
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { gunzipSync } from "node:zlib";
import { openGguf } from "#formats";
import { createDetokenizer, type LoadedText, loadTextFromFolder, type Tokenizer, textFromGguf } from "#text";

interface Line {
  readonly text: string;
  readonly ids: readonly number[];
  /** Where decoding gives another text, and another one yet without special tokens. */
  readonly decoded?: string;
  readonly plain?: string;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: "boolean", default: false } },
});
const [model, packed] = positionals;
if (model === undefined || packed === undefined)
  throw new Error("usage: tokenizer-ids.ts MODEL IDS.jsonl.gz [--json]");

const rows = gunzipSync(readFileSync(packed)).toString("utf8").trimEnd().split("\n").slice(1);
const lines = rows.map((row): Line => JSON.parse(row));
const { tokenizer } = await load(model);

/** Whether the model itself can be run does not matter here. */
async function load(path: string): Promise<LoadedText> {
  if (!path.endsWith(".gguf")) return loadTextFromFolder(path);
  await using file = await openGguf(path);
  return textFromGguf(file.metadata);
}

function streamed(ids: readonly number[], { bytesOf, isSpecial, strippedBlanks }: Tokenizer): string {
  const detokenizer = createDetokenizer({ bytesOf, isSpecial, strippedBlanks });
  return ids.map((id) => detokenizer.push(id)).join("") + detokenizer.flush();
}

const isWrong = {
  ids: ({ text, ids }: Line) => tokenizer.encode(text).join() !== ids.join(),
  decoded: ({ text, ids, decoded = text }: Line) => tokenizer.decode(ids) !== decoded,
  plain: ({ text, ids, decoded = text, plain = decoded }: Line) =>
    tokenizer.decode(ids, { skipSpecialTokens: true }) !== plain,
  streamed: ({ text, ids, decoded = text }: Line) => streamed(ids, tokenizer) !== decoded,
};
const found = Object.entries(isWrong).map(([what, wrong]) => [what, lines.filter(wrong)] as const);
const counts = Object.fromEntries(found.map(([what, wrong]) => [what, wrong.length]));
if (values.json) console.log(JSON.stringify({ texts: lines.length, differ: counts }));
else {
  console.log(`${lines.length} texts; that differ: ${JSON.stringify(counts)}`);
  for (const [what, wrong] of found)
    for (const { text, ids } of wrong.slice(0, 3))
      console.log(`${what}: ${JSON.stringify({ text, ids, here: tokenizer.encode(text) })}`);
}
if (found.some(([, wrong]) => wrong.length > 0)) process.exitCode = 1;
