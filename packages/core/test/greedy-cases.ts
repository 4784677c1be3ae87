// Greedy continuations by another program, and this engine's beside them.
import { type Engine, openEngine, unpackLogprobs } from "../src/inference/index.ts";

/** What a model goes on with, and how far apart the two largest logits were at each token. */
export interface Continuation {
  readonly tokens: readonly number[];
  readonly gaps: readonly number[];
}

/** Below this the order of the two largest logits is float32's rounding. */
const TIE = 1e-3;

/**
 * Where other tokens leave the expected ones; undefined where they do not, or only at a tie, after which nothing is
 * comparable.
 */
export function departure(
  { tokens, gaps }: Continuation,
  others: readonly number[],
  tie = TIE,
): number | undefined {
  const at = tokens.findIndex((token, i) => token !== others[i]);
  return at < 0 || (gaps[at] ?? 0) < tie ? undefined : at;
}

/** The largest difference of a gap, up to where the tokens differ. */
export function gapError(expected: Continuation, found: Continuation): number {
  const at = expected.tokens.findIndex((token, i) => token !== found.tokens[i]);
  const gaps = at < 0 ? expected.gaps : expected.gaps.slice(0, at);
  return Math.max(0, ...gaps.map((gap, i) => Math.abs(gap - (found.gaps[i] ?? Number.POSITIVE_INFINITY))));
}

async function continuation(engine: Engine, prompt: readonly number[], maxTokens: number) {
  const request = { prompt, maxTokens, ignoreEos: true, logprobs: 2, sampling: { temperature: 0 } };
  const tokens: number[] = [];
  const gaps: number[] = [];
  for await (const event of engine.submit(request)) {
    if (event.type !== "token") continue;
    const [first, second] = unpackLogprobs(event)[0]?.top ?? [];
    tokens.push(event.id);
    gaps.push((first?.logprob ?? Number.NaN) - (second?.logprob ?? Number.NaN));
  }
  return { tokens, gaps };
}

export interface ContinueSettings {
  readonly tokens: number;
  /** An adapter's folder, which is merged into the weights. */
  readonly adapter?: string | undefined;
}

/** Greedy continuations of token ids by this engine, past tokens that end texts. */
export async function continuePrompts(
  model: string,
  prompts: readonly (readonly number[])[],
  { tokens, adapter }: ContinueSettings,
): Promise<Continuation[]> {
  await using engine = await openEngine({
    model,
    mergedAdapter: adapter,
    defaults: { generationConfig: "none" },
    maxLength: 256,
    computeDtype: "float32",
    inProcess: true,
    threads: 1,
  });
  const found: Continuation[] = [];
  for (const prompt of prompts) found.push(await continuation(engine, prompt, tokens));
  return found;
}
