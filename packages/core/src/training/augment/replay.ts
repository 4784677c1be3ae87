// Replay of what a base knows: its own answers to general prompts, which a run keeps as likely as they were.
import { z } from "zod";
import { AsyncQueue } from "#common";
import { asTurns, type EncodedExample, type EncodeOptions, encodeExample, IGNORED } from "#data";
import { type EngineOptions, openEngine } from "#inference";
import { setMaxListeners } from "#platform";
import type { ChatMessage } from "#text";

/** Tokens of an answer at most: the rest of a longer one is not replayed. */
export const MAX_TOKENS = 64;
/** General prompts that are answered at a time. */
export const MAX_BATCH = 16;

/** A general prompt with the base's answer, which is cut where it goes on. */
export const replayedSchema = z.object({ prompt: z.string(), answer: z.string(), isCut: z.boolean() });
export type Replayed = z.output<typeof replayedSchema>;

/** How a model is asked: as the run's examples are laid out. */
export interface AnswerOptions
  extends Pick<
    EngineOptions,
    | ("model" | "mergedAdapter" | "device" | "threads" | "signal" | "baseDtype" | "computeDtype")
    | "chatTemplateKwargs"
  > {
  /** Tokens of an answer at most. */
  readonly maxTokens: number;
  /** Prompts that are answered at a time. With one, answers do not depend on when others end. */
  readonly maxBatch: number;
}

/** Characters of a chat template around a conversation, more or less. */
const LAYOUT = 960;

/** The likeliest answers to these conversations, each as it ends, with its index. Throws what `openEngine` throws. */
export async function* answerPrompts(
  prompts: readonly (readonly ChatMessage[])[],
  { maxTokens, maxBatch, ...options }: AnswerOptions,
): AsyncGenerator<readonly [index: number, answer: Omit<Replayed, "prompt">], void> {
  if (prompts.length === 0) return;
  const waiting = { maxBatch, maxWaiting: prompts.length };
  const lengths = prompts.map((all) => all.reduce((sum, { content }) => sum + (content?.length ?? 0), 0));
  // in this process, as a page has no other; nothing is left beside the model
  const place = { inProcess: true, weightCache: false };
  await using engine = await openEngine({
    ...{ ...options, ...waiting, ...place },
    // a character is a token at most, nearly always
    maxLength: maxTokens + LAYOUT + lengths.reduce((most, length) => Math.max(most, length), 0),
    defaults: { generationConfig: "none" },
  });
  if (options.signal !== undefined) setMaxListeners(0, options.signal); // each prompt has one, which is not a leak
  const done = new AsyncQueue<readonly [number, Omit<Replayed, "prompt">]>();
  const request = { maxTokens, sampling: { temperature: 0 }, signal: options.signal };
  const asking = prompts.map(async (prompt, i) => {
    const { content, finishReason } = await engine.chat(prompt, request).message();
    done.push([i, { answer: content ?? "", isCut: finishReason === "length" }]);
  });
  void Promise.all(asking).then(
    () => done.close(),
    (cause) => done.close(cause),
  );
  yield* done;
}

/** A prompt as it is asked. */
export const messagesOf = (prompt: string, system: string | undefined) => [
  ...(system === undefined ? [] : [{ role: "system", content: system }]),
  { role: "user", content: prompt },
];

/** An answer as an example: where it was cut, its end is no target. Its line is that of the prompt, from 1. */
export function replayExample(
  { prompt, answer: text, isCut }: Replayed,
  line: number,
  options: EncodeOptions,
): EncodedExample {
  const place = { line, source: { unit: "line", file: "replay" } } as const;
  const encode = (content: string): EncodedExample =>
    encodeExample({ kind: "chat", ...place, turns: asTurns(prompt, content) }, options);
  const encoded = encode(text);
  if (!isCut) return encoded;
  const { ids: longer } = encode(`${text} and`);
  const end = encoded.ids.findIndex((id, i) => id !== longer[i]);
  const labels = encoded.labels.map((label, i) => (end >= 0 && i >= end ? IGNORED : label));
  return { ...encoded, labels, targetTokens: labels.subarray(1).filter((label) => label !== IGNORED).length };
}

/** The same as plain text, which no template lays out: a base is to keep that, too. */
export const replayText = (
  { prompt, answer }: Replayed,
  line: number,
  options: EncodeOptions,
): EncodedExample =>
  encodeExample(
    { kind: "text", line, source: { unit: "line", file: "replay" }, text: `${prompt}\n\n${answer}` },
    options,
  );

/** An example whose tokens, those of its prompt included, are all to stay as likely as they were, and none likelier. */
export function anchoredExample(example: EncodedExample): EncodedExample {
  const cut = example.labels.findLastIndex((label) => label !== IGNORED) + 1;
  const labels = example.ids.map((id, i) => (i === 0 || i >= cut ? IGNORED : id));
  const targetTokens = Math.max(0, cut - 1);
  const columns = { weight: new Float32Array(targetTokens), anchor: new Float32Array(targetTokens).fill(1) };
  return { ...example, labels, targetTokens, columns };
}

/** True for such an example. */
export const isAnchored = ({ columns }: EncodedExample): boolean => columns?.anchor !== undefined;
