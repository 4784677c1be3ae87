// What the engine does next, as data. planTurn decides; engine.ts obeys.

/** A row that a request has. */
export interface RowState {
  readonly row: number;
  /** Requests got their rows in this order. */
  readonly order: number;
  /** Tokens that the cache does not hold yet; a row that writes its answer has one. */
  readonly pending: number;
  /** Logits are wanted behind every token, so it reads in parts even where one is left. */
  readonly everyPlace: boolean;
}

/** A part of a prompt. */
export interface PromptPart {
  readonly row: number;
  readonly tokens: number;
}

/** Prompt parts first, one step each; then one token of every row in `decode`, in one step. */
export interface TurnPlan {
  readonly prompts: readonly PromptPart[];
  readonly decode: readonly number[];
}

export interface TurnOptions {
  /** Prompt tokens of a turn while other rows write, which wait for them. */
  readonly chunk: number;
  /** Prompt tokens of a turn when nobody waits for them. */
  readonly loneChunk: number;
}

/**
 * Reads prompts in the order of their arrival, in chunks that let the rows that write go on, and lets every row write
 * that has read its prompt.
 */
export function planTurn(rows: readonly RowState[], { chunk, loneChunk }: TurnOptions): TurnPlan {
  const reads = ({ pending, everyPlace }: RowState): boolean => pending > 1 || everyPlace;
  const decode = rows.filter((row) => row.pending > 0 && !reads(row)).map(({ row }) => row);
  let left = decode.length > 0 ? chunk : loneChunk;
  const prompts: PromptPart[] = [];
  for (const state of rows.filter(reads).sort((a, b) => a.order - b.order)) {
    // logits behind every token are large, so such parts stay small
    const tokens = Math.min(state.pending, left, state.everyPlace ? chunk : loneChunk);
    if (tokens <= 0) break;
    prompts.push({ row: state.row, tokens });
    left -= tokens;
  }
  return { prompts, decode };
}

/** Moves that fill the lowest free rows from the highest taken ones, so that a step covers no row in vain. */
export function planMoves(
  taken: readonly number[],
): readonly { readonly from: number; readonly to: number }[] {
  const rows = new Set(taken);
  const high = [...taken].filter((row) => row >= rows.size).sort((a, b) => b - a);
  const free = Array.from({ length: rows.size }, (_, row) => row).filter((row) => !rows.has(row));
  return high.map((from, i) => ({ from, to: free[i] as number }));
}
