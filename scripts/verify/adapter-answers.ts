// Greedy answers of this engine with each adapter of a folder, as token ids, for scripts/verify/other_engines.py.
// usage: node --conditions=source --import tsx scripts/verify/adapter-answers.ts MODEL ADAPTERS QUESTIONS.jsonl TOKENS > ours.json
// Lines have "messages" that begin with a question. Prints { ADAPTER: [{ "prompt": [id], "answer": [id] }] }; all are float32.
import { readJsonLines } from "mixture-of-shards-core/files";
import { openEngine } from "mixture-of-shards-core/inference";
import { z } from "zod";

const [model, adapters, file, count] = process.argv.slice(2);
if (model === undefined || adapters === undefined || file === undefined || count === undefined)
  throw new Error("usage: adapter-answers.ts MODEL ADAPTERS QUESTIONS.jsonl TOKENS");
const lineSchema = z.object({ messages: z.array(z.object({ content: z.string() })).min(1) });
const questions: string[] = [];
for await (const { value } of readJsonLines(file))
  questions.push(lineSchema.parse(value).messages[0]?.content ?? "");

await using engine = await openEngine({
  ...{ model, adapters, adapterDtype: "float32", computeDtype: "float32", maxLength: 1024, inProcess: true },
  defaults: { generationConfig: "none", temperature: 0 },
});
const { tokenizer, template } = engine.text;
const answer = async (adapter: string, content: string) => {
  const text = template.render([{ role: "user", content }], { addGenerationPrompt: true });
  const prompt = [...tokenizer.encode(text, { addSpecialTokens: false })];
  const tokens: number[] = [];
  for await (const event of engine.chat(content, { adapter, maxTokens: Number(count) }))
    if (event.type === "token" && !tokenizer.eosTokens.includes(event.id)) tokens.push(event.id);
  return { prompt, answer: tokens };
};
const found: Record<string, unknown> = {};
for (const { name } of engine.adapters())
  found[name] = await Promise.all(questions.map((question) => answer(name, question)));
console.log(JSON.stringify(found));
