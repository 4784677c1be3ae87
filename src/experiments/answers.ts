// Greedy answers to held-out prompts, several side by side, and how many of them are the reference.
import { type Adapter, deltaOf } from "#adapters";
import { MosError, randomStream } from "#core";
import { type EncodingRules, type Example, encodeExample, IGNORED } from "#data";
import { createDecoder, type Decoder, generate } from "#generation";
import { LINEAR_NAMES, modulePath } from "#nn";
import type { BaseModel } from "#recipes";
import type { CompileOptions, HostTensor } from "#runtime";
import { exactMatch } from "./exact-match.ts";

export interface AnswerSettings {
  /** Null for the base as it is. */
  readonly adapter: Adapter | null;
  readonly rules: EncodingRules;
  readonly system: string | undefined;
  readonly maxTokens: number;
  /** Prompts side by side. */
  readonly rows: number;
  readonly compile: CompileOptions;
  readonly signal: AbortSignal | undefined;
}

/** A prompt as training shows it, and what should follow. */
export interface Question {
  readonly ids: readonly number[];
  readonly reference: string;
}

/** Everything before the last stretch that training counts, which is the reference. */
export function questionOf(
  example: Example,
  { base, rules, system }: { readonly base: BaseModel } & Pick<AnswerSettings, "rules" | "system">,
): Question {
  const { tokenizer, template } = base.text;
  const { ids, labels } = encodeExample(example, {
    tokenizer,
    template,
    rules,
    system,
    maxLength: base.model.config.maxPositions,
  });
  let start = labels.length;
  while (start > 0 && labels[start - 1] === IGNORED) start--;
  while (start > 0 && labels[start - 1] !== IGNORED) start--;
  const reference =
    example.kind === "completion"
      ? example.completion
      : (example.turns.findLast(({ trained }) => trained)?.content ?? "");
  return { ids: [...ids.subarray(0, start)], reference };
}

/** The weights with the adapter added, so that many rows decode as fast as the base alone. */
async function adaptedWeights(
  { model }: BaseModel,
  adapter: Adapter | null,
): Promise<ReadonlyMap<string, HostTensor>> {
  if (adapter === null) return model.weights;
  const weights = new Map<string, HostTensor>(model.weights);
  for (let layer = 0; layer < model.config.layers; layer++)
    for (const linear of LINEAR_NAMES) {
      const site = { layer, linear };
      const name = `${modulePath(site)}.weight`;
      const weight = model.weights.get(name);
      const delta = weight === undefined ? undefined : await deltaOf(adapter, site);
      if (weight === undefined || !(delta?.data instanceof Float32Array)) continue;
      const sum = delta.data;
      for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] as number) + (weight.data[i] as number);
      weights.set(name, { shape: weight.shape, data: sum });
    }
  return weights;
}

/** One batch; a row too many repeats the first prompt, and is not looked at. */
async function answerBatch(
  decoder: Decoder,
  questions: readonly Question[],
  { base, rows, maxTokens, signal }: AnswerSettings & { readonly base: BaseModel },
): Promise<readonly string[]> {
  const { tokenizer } = base.text;
  const first = questions[0]?.ids ?? [];
  const answers: string[] = questions.map(() => "");
  decoder.clear();
  const events = generate(
    decoder,
    Array.from({ length: rows }, (_, row) => questions[row]?.ids ?? first),
    {
      tokenizer,
      maxTokens,
      endTokens: [...new Set([...base.model.config.eosTokens, ...tokenizer.eosTokens])],
      random: () => randomStream(0, "greedy"),
      signal,
    },
  );
  for await (const event of events)
    if (event.type === "end") {
      if (event.reason === "cancelled") throw new MosError("cancelled", "the answers were stopped");
      if (event.row < answers.length) answers[event.row] = event.text;
    }
  return answers;
}

/** How many greedy answers are the reference. Throws `cancelled`. */
export async function countCorrect(
  base: BaseModel,
  examples: readonly Example[],
  settings: AnswerSettings,
): Promise<{ readonly correct: number; readonly total: number }> {
  const { maxPositions } = base.model.config;
  const room = maxPositions - settings.maxTokens;
  // what leaves no room for an answer counts as not answered
  const questions = examples.map((example) => questionOf(example, { base, ...settings }));
  const fitting = questions.filter(({ ids }) => ids.length <= room);
  const rows = Math.min(settings.rows, fitting.length);
  if (rows === 0) return { correct: 0, total: questions.length };
  await using decoder = await createDecoder({
    config: base.model.config,
    weightData: await adaptedWeights(base, settings.adapter),
    rows: Array.from({ length: rows }, () => undefined),
    maxLength: settings.maxTokens + Math.max(...fitting.map(({ ids }) => ids.length)),
    compile: settings.compile,
  });
  let correct = 0;
  for (let from = 0; from < fitting.length; from += rows) {
    const batch = fitting.slice(from, from + rows);
    const answers = await answerBatch(decoder, batch, { ...settings, base, rows });
    correct += batch.filter(({ reference }, i) => exactMatch(answers[i] ?? "", reference)).length;
  }
  return { correct, total: questions.length };
}
