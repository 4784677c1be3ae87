import { MosError, type Random } from "#core";
import { createDetokenizer, createStopScanner, type Tokenizer } from "#text";
import { checkSampling, type SamplingOptions, sample } from "./sampler.ts";

/** Rows of tokens that grow together. Holds native memory: dispose it. */
export interface Decoder extends AsyncDisposable {
  /** Tokens that each row holds. */
  readonly lengths: readonly number[];
  /**
   * Appends tokens to each row (none for a row that is finished) and gives the logits [V] behind its last token;
   * empty for rows without new tokens.
   */
  append(tokens: readonly (readonly number[])[]): Promise<readonly Float32Array[]>;
  /** Starts again with empty rows. */
  clear(): void;
}

/** How rows are continued, and what ends them. */
export interface GenerateOptions {
  readonly sampling?: SamplingOptions;
  /** Most tokens of an answer. */
  readonly maxTokens: number;
  /** Texts that end an answer; they are not part of it. */
  readonly stops?: readonly string[];
  /** Tokens that end an answer. */
  readonly endTokens: readonly number[];
  /** A stream of random numbers for each row. */
  readonly random: (row: number) => Random;
  /** The answer goes on with the prompt's text, rather than being a text of its own. */
  readonly continues?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** Why an answer ended: an end token, a stop text, its length, or the caller's signal. */
export type FinishReason = "end" | "stop" | "length" | "cancelled";

/** What happens while rows are written: tokens and text as they come, and one `end` for each row. */
export type GenerateEvent =
  /** Text that is now certain, of the answer of one row; never half a character. */
  | { readonly type: "text"; readonly row: number; readonly text: string }
  | { readonly type: "token"; readonly row: number; readonly id: number }
  | {
      readonly type: "end";
      readonly row: number;
      readonly reason: FinishReason;
      readonly text: string;
      readonly ids: readonly number[];
    };

interface Row {
  readonly seen: number[];
  readonly ids: number[];
  text: string;
  readonly detokenizer: ReturnType<typeof createDetokenizer>;
  readonly stops: ReturnType<typeof createStopScanner>;
  readonly random: Random;
  reason: FinishReason | undefined;
}

/**
 * Continues prompts of token ids, one for each row of the decoder, whose rows must be empty.
 *
 * @example
 * for await (const event of generate(decoder, [prompt], options)) if (event.type === "text") process.stdout.write(event.text);
 */
export async function* generate(
  decoder: Decoder,
  prompts: readonly (readonly number[])[],
  options: GenerateOptions & { readonly tokenizer: Tokenizer },
): AsyncGenerator<GenerateEvent, void> {
  const { tokenizer, sampling = {}, signal, maxTokens } = options;
  checkSampling(sampling);
  if (!Number.isInteger(maxTokens) || maxTokens < 1)
    throw new MosError("bad_option", `maxTokens is ${maxTokens}; it must be 1 or more`);
  if (prompts.some((prompt) => prompt.length === 0))
    throw new MosError("bad_data", "the prompt is empty; give at least one token");
  const rows = prompts.map(
    (prompt, row): Row => ({
      seen: [...prompt],
      ids: [],
      text: "",
      detokenizer: createDetokenizer(tokenizer, { continues: options.continues ?? false }),
      stops: createStopScanner(options.stops ?? []),
      random: options.random(row),
      reason: undefined,
    }),
  );
  let pending: readonly (readonly number[])[] = prompts;
  while (rows.some(({ reason }) => reason === undefined)) {
    const logits = signal?.aborted === true ? undefined : await decoder.append(pending);
    for (const [index, row] of rows.entries()) {
      if (row.reason !== undefined) continue;
      yield* advance(row, index, { logits: logits?.[index], options, sampling });
    }
    pending = rows.map(({ reason, ids }) => (reason === undefined ? ids.slice(-1) : []));
    // lets the caller's signal in: the runtime computes on this thread
    await new Promise((resolve) => setImmediate(resolve));
  }
}

interface Advance {
  /** Undefined when the caller has cancelled. */
  readonly logits: Float32Array | undefined;
  readonly options: GenerateOptions;
  readonly sampling: SamplingOptions;
}

/** Chooses one row's next token and tells what became certain. */
function* advance(row: Row, index: number, { logits, options, sampling }: Advance): Generator<GenerateEvent> {
  const said = function* (text: string): Generator<GenerateEvent> {
    if (text === "") return;
    row.text += text;
    yield { type: "text", row: index, text };
  };
  const finish = function* (reason: FinishReason): Generator<GenerateEvent> {
    const rest = reason === "stop" ? undefined : row.stops.push(row.detokenizer.flush());
    if (rest !== undefined) {
      yield* said(rest.text);
      if (!rest.stopped) yield* said(row.stops.flush());
    }
    row.reason = rest?.stopped === true ? "stop" : reason;
    yield { type: "end", row: index, reason: row.reason, text: row.text, ids: row.ids };
  };
  if (logits === undefined) return yield* finish("cancelled");
  const id = sample(logits, { ...sampling, seen: row.seen, random: row.random });
  if (options.endTokens.includes(id)) return yield* finish("end");
  row.seen.push(id);
  row.ids.push(id);
  yield { type: "token", row: index, id };
  const { text, stopped } = row.stops.push(row.detokenizer.push(id));
  yield* said(text);
  if (stopped) return yield* finish("stop");
  if (row.ids.length >= options.maxTokens) yield* finish("length");
}
