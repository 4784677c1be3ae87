// Whether llama.cpp answers as this engine does, with the base's own chat template: an adapter beside its base and merged into it.
// usage: node --conditions=source --import tsx scripts/verify/llama-answers.ts BASE.gguf ADAPTER QUESTIONS.jsonl... --llama PATH/TO/node_modules [--least 38]
// Lines have a "question", or "messages" that begin with one; node-llama-cpp@3.21.1 is installed elsewhere, with npm install.
// Exits with 1 where fewer than 38 of 40 questions of a file get equal answers from the merged file, or a prompt becomes other tokens.
import { execFileSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { readJsonLines } from "mixture-of-shards-core/files";
import { openEngine } from "mixture-of-shards-core/inference";
import { z } from "zod";
import { continuations, openLlama } from "./llama.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { llama: { type: "string" }, least: { type: "string", default: "38" } },
});
const [base, adapter, ...files] = positionals;
if (base === undefined || adapter === undefined || files.length === 0 || values.llama === undefined)
  throw new Error(
    "usage: llama-answers.ts BASE.gguf ADAPTER QUESTIONS.jsonl... --llama PATH/TO/node_modules",
  );

const lineSchema = z.union([
  z.object({ question: z.string() }).transform(({ question }) => question),
  z
    .object({ messages: z.array(z.object({ content: z.string() })).min(1) })
    .transform(({ messages }) => messages[0]?.content ?? ""),
]);
async function questionsOf(file: string): Promise<readonly string[]> {
  const questions: string[] = [];
  for await (const { value } of readJsonLines(file)) questions.push(lineSchema.parse(value));
  return questions;
}

const MAX_TOKENS = 64;

/** Prompts with this engine's greedy answers to them, in float32 as llama.cpp computes the merged file. */
async function ask(computeDtype: "float32" | "int8", questions: readonly string[]) {
  const defaults = { generationConfig: "none", temperature: 0 } as const;
  await using engine = await openEngine({
    ...{ model: base as string, mergedAdapter: adapter, defaults, computeDtype },
    ...{ maxLength: 1024, inProcess: true, threads: 1 },
  });
  const { tokenizer, template } = engine.text;
  const asked: { text: string; ids: readonly number[]; answer: readonly number[] }[] = [];
  for (const content of questions) {
    const text = template.render([{ role: "user", content }], { addGenerationPrompt: true });
    const answer: number[] = [];
    for await (const event of engine.chat(content, { maxTokens: MAX_TOKENS }))
      if (event.type === "token" && !tokenizer.eosTokens.includes(event.id)) answer.push(event.id);
    asked.push({ text, ids: [...tokenizer.encode(text, { addSpecialTokens: false })], answer });
  }
  return asked;
}

const folder = await mkdtemp(join(tmpdir(), "mos-llama-answers-"));
const mos = (...args: readonly string[]): void => {
  const run = ["--conditions=source", "--import", "tsx", "packages/mos/src/cli/main.ts", ...args];
  execFileSync(process.execPath, [...run, "--model", base], { stdio: ["ignore", "ignore", "inherit"] });
};
const [lora, merged] = [join(folder, "lora.gguf"), join(folder, "merged.gguf")];
mos("export", adapter, "--format", "gguf", "--out", lora);
mos("merge", adapter, "--out", merged, "--quiet");

const llama = await openLlama(values.llama);
let failures = 0;
for (const file of files) {
  const questions = await questionsOf(file);
  const least = Math.ceil((Number(values.least) / 40) * questions.length);
  for (const computeDtype of ["float32", "int8"] as const) {
    const asked = await ask(computeDtype, questions);
    for (const [name, path, beside] of [
      ["merged file", merged, undefined],
      ["base with adapter", base, lora],
    ] as const) {
      const model = await llama.loadModel({ modelPath: path });
      const prompts = asked.map(({ text }) => model.tokenize(text, true));
      const odd = asked.filter(({ ids }, i) => ids.join() !== prompts[i]?.join()).length;
      const answers = await continuations(model, prompts, { tokens: MAX_TOKENS, lora: beside });
      const same = asked.filter(
        ({ answer }, i) => answer.join() === answers[i]?.filter((id) => !model.isEogToken(id)).join(),
      ).length;
      // what llama.cpp rounds otherwise is compared, and not asked for
      const isAskedFor = computeDtype === "float32" && beside === undefined;
      if (odd > 0 || (isAskedFor && same < least)) failures++;
      console.log(
        `${basename(file)}, ${name}, mos in ${computeDtype}: ${same} of ${questions.length} answers are equal; ${odd} prompts differ`,
      );
      await model.dispose();
    }
  }
}
await rm(folder, { recursive: true });
process.exit(failures === 0 ? 0 : 1);
