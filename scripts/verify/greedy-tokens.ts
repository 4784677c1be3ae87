// Greedy tokens of this engine, as mos generate --raw writes them, and the ids that the prompts become.
// usage: node --conditions=source --import tsx scripts/verify/greedy-tokens.ts MODEL ADAPTER TOKENS PROMPTS.json
// ADAPTER may be "none". Prints [{ "prompt", "ids", "tokens" }] as JSON.
import { readFile } from "node:fs/promises";
import { loadModel, openSession } from "#recipes";

const [model, adapter, count, prompts] = process.argv.slice(2);
if (model === undefined || adapter === undefined || count === undefined || prompts === undefined)
  throw new Error("usage: greedy-tokens.ts MODEL ADAPTER TOKENS PROMPTS.json");
const base = await loadModel(model);
await using session = await openSession(base, { adapters: [adapter === "none" ? null : adapter] });
const results: unknown[] = [];
for (const prompt of JSON.parse(await readFile(prompts, "utf8")) as readonly string[]) {
  let tokens: readonly number[] = [];
  let text = "";
  for await (const event of session.answer({ kind: "text", text: prompt }, { maxTokens: Number(count) }))
    if (event.type === "end") ({ ids: tokens, text } = event);
  const ids = base.text.tokenizer.encode(prompt, { addSpecialTokens: false });
  results.push({ prompt, ids, tokens, text });
}
console.log(JSON.stringify(results));
