// Softmax of logits by the runtime: in JavaScript, exponentials of a whole vocabulary take milliseconds for each token.
import {
  compile,
  leaf,
  max,
  mul,
  type Program,
  type SessionOptions,
  softmax,
  sub,
} from "mixture-of-shards-graph";
import { sumWeights } from "./sampler.ts";

/** A row of logits [V], and what is needed of it. */
export interface SoftmaxRow {
  readonly logits: Float32Array;
  /** Temperature at which a token is drawn; undefined where none is. */
  readonly temperature: number | undefined;
  /** Whether log-probabilities are needed. */
  readonly scores: boolean;
}

/** The softmax of a row, as far as it is needed. */
export interface RowSoftmax {
  /** log Σ e^z, in double precision; not finite where a logit is NaN or ∞. */
  readonly total: number | undefined;
  /** Probabilities [V] at the row's temperature. Rounding may keep their sum from 1. */
  readonly probabilities: Float32Array | undefined;
}

/** Softmax of rows. Holds native memory: dispose it. */
export type TokenSoftmax = ReturnType<typeof tokenSoftmax>;

/** 4 MiB of logits; several times that is in use. */
const MAX_LOGITS = 2 ** 20;
/** Keeps the smallest temperatures from becoming ∞, which has no product with 0. */
const MAX_INVERSE = 3e38;

/** Softmax of a vocabulary, compiled when it is first needed. `maxLogits` are computed at a time at most. */
export function tokenSoftmax(vocabularySize: number, session: SessionOptions, maxLogits = MAX_LOGITS) {
  let program: Promise<Program> | undefined;
  const open = (): Promise<Program> => {
    const logits = leaf("logits", ["rows", vocabularySize]);
    const peaks = max(logits, [1]);
    const probabilities = softmax(mul(sub(logits, peaks), leaf("inverse_temperatures", ["rows", 1])));
    return compile({ peaks, probabilities, tops: max(probabilities, [1]) }, session);
  };
  const limit = Math.max(1, Math.floor(maxLogits / vocabularySize));

  /** The softmax of rows at these temperatures; totals are those of logits divided by them. */
  async function softmaxAt(
    rows: readonly SoftmaxRow[],
    temperature: (row: SoftmaxRow) => number,
  ): Promise<readonly RowSoftmax[]> {
    program ??= open();
    const found: RowSoftmax[] = [];
    for (let from = 0; from < rows.length; from += limit) {
      const some = rows.slice(from, from + limit);
      const inverse = Float32Array.from(some, (row) => Math.min(1 / temperature(row), MAX_INVERSE));
      const { peaks, probabilities, tops } = await (await program).run({
        logits: { shape: [some.length, vocabularySize], data: toMatrix(some, vocabularySize) },
        inverse_temperatures: { shape: [some.length, 1], data: inverse },
      });
      for (const [i, row] of some.entries()) {
        const [start, end] = [i * vocabularySize, (i + 1) * vocabularySize];
        const own = probabilities?.data.subarray(start, end) as Float32Array;
        // log Σ e^z = max z − log max p, where the runtime has divided p by a sum in single precision
        const total = (): number =>
          Number(peaks?.data[i]) - Math.log(Number(tops?.data[i]) / sumWeights(own));
        found.push({
          total: row.scores ? total() : undefined,
          probabilities: row.temperature === undefined ? undefined : own,
        });
      }
    }
    return found;
  }

  return {
    /** The result of a row does not depend on the other rows. */
    async compute(rows: readonly SoftmaxRow[]): Promise<readonly RowSoftmax[]> {
      const draws = rows.some(({ temperature }) => temperature !== undefined);
      const scores = rows.some((row) => row.scores);
      const drawn = draws ? await softmaxAt(rows, ({ temperature = 1 }) => temperature) : [];
      const isEnough = draws && rows.every((row) => !row.scores || (row.temperature ?? 1) === 1);
      const scored = !scores || isEnough ? drawn : await softmaxAt(rows, () => 1);
      return rows.map((_, i) => ({
        total: scored[i]?.total,
        probabilities: drawn[i]?.probabilities,
      }));
    },
    async [Symbol.asyncDispose](): Promise<void> {
      await (await program)?.[Symbol.asyncDispose]();
    },
  };
}

/** Rows one after another: a view where they are contiguous, as those of a step are. */
function toMatrix(rows: readonly SoftmaxRow[], width: number): Float32Array {
  const [first] = rows as [SoftmaxRow];
  const { buffer, byteOffset } = first.logits;
  const isContiguous = rows.every(
    ({ logits }, i) => logits.buffer === buffer && logits.byteOffset === byteOffset + i * width * 4,
  );
  if (isContiguous) return new Float32Array(buffer, byteOffset, rows.length * width);
  const copy = new Float32Array(rows.length * width);
  rows.forEach(({ logits }, i) => void copy.set(logits, i * width));
  return copy;
}
