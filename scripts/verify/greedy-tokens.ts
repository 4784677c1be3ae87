// Greedy tokens of this engine, as mos generate --raw writes them, and the ids that the prompts become.
// usage: node --conditions=source --import tsx scripts/verify/greedy-tokens.ts MODEL ADAPTER TOKENS PROMPTS.json
// ADAPTER may be "none". Prints [{ "prompt", "ids", "tokens" }] as JSON.
import { readFile } from "node:fs/promises";
import { openEngine } from "mixture-of-shards-core/inference";

const [model, adapter, count, prompts] = process.argv.slice(2);
if (model === undefined || adapter === undefined || count === undefined || prompts === undefined)
  throw new Error("usage: greedy-tokens.ts MODEL ADAPTER TOKENS PROMPTS.json");
const mergedAdapter = adapter === "none" ? undefined : adapter;
const defaults = { generationConfig: "none", temperature: 0 } as const;
await using engine = await openEngine({
  model,
  mergedAdapter,
  defaults,
  maxLength: 8192,
  computeDtype: "float32",
  inProcess: true,
});
const results: unknown[] = [];
for (const prompt of JSON.parse(await readFile(prompts, "utf8")) as readonly string[]) {
  const tokens: number[] = [];
  let text = "";
  for await (const event of engine.complete(prompt, { maxTokens: Number(count) })) {
    if (event.type === "token") tokens.push(event.id);
    if (event.type === "token" || event.type === "finish") text += event.text;
  }
  const ids = engine.text.tokenizer.encode(prompt);
  results.push({ prompt, ids, tokens, text });
}
console.log(JSON.stringify(results));
