// Sequences that begin with the same prompt, as one example in which it stands once: it is computed once, and all of the
// answers attend to it.
import type { EncodedExample, TokenColumn } from "./encode.ts";

/**
 * Comparisons of a query with a key that take as long as the rest of a token, in small models. In larger ones the rest of a
 * token takes longer.
 */
const TOKEN_COMPARISONS = 4096;

/**
 * Whether it is faster to compute a prompt once for all answers, of so many tokens: that saves the prompt's tokens, but the
 * answers are compared with each other, and what is found is thrown away.
 */
export function paysToShare(prompt: number, answers: readonly number[]): boolean {
  let [before, wasted] = [0, 0];
  for (const length of answers) {
    wasted += before * length;
    before += length;
  }
  return prompt * (answers.length - 1) * TOKEN_COMPARISONS > wasted;
}

/**
 * Sequences as one example.
 *
 * @param shared tokens that all of them begin with and that stand in the example once. None but the first sequence has targets
 * among them, or as the next token.
 */
export function joinSequences(sequences: readonly EncodedExample[], shared: number): EncodedExample {
  const [first] = sequences as readonly [EncodedExample];
  const join = (field: "ids" | "labels"): Int32Array =>
    Int32Array.from([
      ...first[field].subarray(0, shared),
      ...sequences.flatMap((one) => [...one[field].subarray(shared)]),
    ]);
  const sum = (field: "targetTokens" | "truncatedTargets"): number =>
    sequences.reduce((total, one) => total + one[field], 0);
  const names = new Set(sequences.flatMap(({ columns = {} }) => Object.keys(columns) as TokenColumn[]));
  const column = (name: TokenColumn): Float32Array =>
    Float32Array.from(
      sequences.flatMap(({ columns, targetTokens }) => [
        ...(columns?.[name] ?? new Float32Array(targetTokens).fill(name === "weight" ? 1 : 0)),
      ]),
    );
  return {
    ...first,
    ids: join("ids"),
    labels: join("labels"),
    targetTokens: sum("targetTokens"),
    truncated: sequences.some(({ truncated }) => truncated),
    truncatedTargets: sum("truncatedTargets"),
    sequences: sequences.map(({ ids }) => ids.length - shared),
    ...(shared === 0 ? {} : { shared }),
    ...(names.size === 0
      ? {}
      : { columns: Object.fromEntries([...names].map((name) => [name, column(name)])) }),
  };
}

/** Tokens of the longest example whose sequences share a prompt; undefined where none do. */
export function sharedReach(examples: readonly EncodedExample[]): number | undefined {
  const lengths = examples.flatMap(({ ids, shared = 0 }) => (shared > 0 ? [ids.length] : []));
  return lengths.length === 0 ? undefined : lengths.reduce((most, length) => Math.max(most, length), 0);
}
