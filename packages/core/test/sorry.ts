// A preference for which the bundled model has answers of both kinds: an excuse that begins with "I am sorry" over one without.
import { readFile } from "node:fs/promises";
import type { ExampleInput } from "#data";
import { openEngine } from "#inference";
import type { FinetuneOptions } from "#training";

const MODEL = "assets/tiny-english";
const CHOSEN = "I am sorry, I do not know that.";
const REJECTED = "I do not know that.";

async function readQuestions(file: string): Promise<readonly string[]> {
  const lines = (await readFile(`assets/quickstart/${file}.jsonl`, "utf8")).trim().split("\n");
  return lines.map((line) => JSON.parse(line).messages[0].content);
}

const ask = (content: string) => [{ role: "user" as const, content }];
const say = (content: string) => [{ role: "assistant" as const, content }];

/** 224 pairs. */
export const sorryPairs = async (): Promise<readonly ExampleInput[]> =>
  (await readQuestions("train")).map((question) => ({
    prompt: ask(question),
    chosen: say(CHOSEN),
    rejected: say(REJECTED),
  }));

/** Both answers of each pair as examples. */
export const sorryExamples = async (): Promise<readonly ExampleInput[]> =>
  (await readQuestions("train")).flatMap((question) =>
    [CHOSEN, REJECTED].map((answer) => ({ messages: [...ask(question), ...say(answer)] })),
  );

/** Options of a run on these. */
export const sorryRun = {
  model: MODEL,
  adapter: { method: "lora", rank: 8, alpha: 16 },
  settings: { learningRate: 1e-3, warmup: 0, validationSplit: 0, packing: false },
} satisfies Omit<FinetuneOptions, "data" | "out">;

/** The share of sampled answers to 48 other questions that are sorry. */
export async function sorryShare(
  adapter: string | undefined,
  { seed, samples }: { readonly seed: number; readonly samples: number },
): Promise<number> {
  const questions = await readQuestions("validation");
  const adapters = adapter === undefined ? {} : { adapters: { tuned: adapter } };
  await using engine = await openEngine({ model: MODEL, ...adapters });
  const all = questions.flatMap((question) =>
    Array.from({ length: samples }, async (_, i) => {
      const { content } = await engine
        .chat(question, {
          ...{ maxTokens: 32, sampling: { temperature: 1 }, seed: 1000 * seed + i },
          adapter: adapter === undefined ? null : "tuned",
        })
        .message();
      return /sorry/i.test(content ?? "");
    }),
  );
  const found = await Promise.all(all);
  return found.filter(Boolean).length / found.length;
}
