// Log-probabilities between a step and their reader, who may be slow: one array of a token, or of a prompt, takes a tenth
// of the heap that objects take, and crosses to another process as it is.
import type { TokenLogprob } from "./sampler.ts";
import type { EngineEvent } from "./types.ts";

/** A row [id, ln p, id, ln p, …] for each token, its own first and then the likeliest; NaN where nothing stands. */
export type PackedScores = Float64Array;

type ScoredEvent = Extract<EngineEvent, { readonly type: "prompt" | "token" }>;

/** An event of the engine on the way from a core to a reader. */
export type CoreEvent =
  | Exclude<EngineEvent, ScoredEvent>
  | { readonly type: "prompt"; readonly tokens: number; readonly scores: PackedScores }
  | { readonly type: "token"; readonly id: number; readonly text: string; readonly scores?: PackedScores };

/** Empty rows of so many tokens with so many alternatives. */
export const emptyScores = (tokens: number, alternatives: number): PackedScores =>
  new Float64Array(tokens * 2 * (alternatives + 1)).fill(Number.NaN);

/** The row of one of so many tokens. */
export function rowAt(scores: PackedScores, token: number, tokens: number): PackedScores {
  const width = scores.length / tokens;
  return scores.subarray(token * width, (token + 1) * width);
}

/** Fills a token's row, and gives it. */
export function packScore(row: PackedScores, { id, logprob, top }: TokenLogprob): PackedScores {
  row[0] = id;
  row[1] = logprob ?? Number.NaN;
  for (const [i, entry] of top.entries()) {
    row[2 * i + 2] = entry.id;
    row[2 * i + 3] = entry.logprob;
  }
  return row;
}

function unpackScore(row: PackedScores): TokenLogprob {
  const [id = 0, logprob = Number.NaN] = row;
  const top: { readonly id: number; readonly logprob: number }[] = [];
  for (let at = 2; at < row.length && !Number.isNaN(row[at]); at += 2)
    top.push({ id: row[at] as number, logprob: row[at + 1] as number });
  return { id, logprob: Number.isNaN(logprob) ? null : logprob, top };
}

/** An event as its reader has it. */
export function readEvent(event: CoreEvent): EngineEvent {
  if (event.type === "token") {
    const { scores, ...token } = event;
    return scores === undefined ? token : { ...token, logprob: unpackScore(scores) };
  }
  if (event.type !== "prompt") return event;
  const { tokens, scores } = event;
  const rows = Array.from({ length: tokens }, (_, i) => rowAt(scores, i, tokens));
  return { type: "prompt", logprobs: rows.map(unpackScore) };
}
