// Softmax of logits by the runtime: in JavaScript, exponentials of a whole vocabulary take milliseconds for each token.
import { compile, leaf, max, mul, type SessionOptions, softmax, sub } from "#graph";

/** What sampling and log-probabilities need of a row of logits [V]. */
export interface RowSoftmax {
  /** log Σ e^z */
  readonly total: number;
  /** Probabilities [V] at the temperature that was asked for, until the next call; undefined where none was. */
  readonly probabilities: Float32Array | undefined;
}

/** A row of logits [V], and the temperature of the probabilities that are wanted of it. */
export interface SoftmaxRow {
  readonly logits: Float32Array;
  readonly temperature: number | undefined;
}

/** Softmax of rows. Holds native memory: dispose it. */
export interface TokenSoftmax extends AsyncDisposable {
  /** Computes each row by itself, so that others do not change it. Numbers that are not finite give such totals. */
  compute(rows: readonly SoftmaxRow[]): Promise<readonly RowSoftmax[]>;
}

/** 16 MiB of logits. */
const MOST = 2 ** 22;

/** Compiles the softmax of a vocabulary. `most`: logits that are computed at a time, at most. */
export async function openTokenSoftmax(
  vocabularySize: number,
  session: SessionOptions,
  most = MOST,
): Promise<TokenSoftmax> {
  const logits = leaf("logits", ["rows", vocabularySize]);
  const peaks = max(logits, [1]);
  const scaled = mul(sub(logits, peaks), leaf("inverse_temperatures", ["rows", 1]));
  const outputs = { peaks, shares: max(softmax(logits), [1]), probabilities: softmax(scaled) };
  const program = await compile(outputs, session);
  const limit = Math.max(1, Math.floor(most / vocabularySize));

  async function computeSome(rows: readonly SoftmaxRow[]): Promise<readonly RowSoftmax[]> {
    const inverse = Float32Array.from(rows, ({ temperature = 1 }) => 1 / temperature);
    const draws = rows.some(({ temperature }) => temperature !== undefined);
    const { peaks, shares, probabilities } = await program.run(
      {
        logits: { shape: [rows.length, vocabularySize], data: joined(rows, vocabularySize) },
        inverse_temperatures: { shape: [rows.length, 1], data: inverse },
      },
      draws ? Object.keys(outputs) : ["peaks", "shares"],
    );
    return rows.map(({ temperature }, i) => ({
      // log Σ e^z = max z − log max p; the runtime's logarithm of a row depends on how many there are
      total: Number(peaks?.data[i]) - Math.log(Number(shares?.data[i])),
      probabilities:
        temperature === undefined
          ? undefined
          : (probabilities?.data.subarray(i * vocabularySize, (i + 1) * vocabularySize) as Float32Array),
    }));
  }

  return {
    async compute(rows) {
      const found: RowSoftmax[] = [];
      for (let from = 0; from < rows.length; from += limit)
        found.push(...(await computeSome(rows.slice(from, from + limit))));
      return found;
    },
    [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
  };
}

/** Rows one after another: a view where they lie so, as those of a step do. */
function joined(rows: readonly SoftmaxRow[], width: number): Float32Array {
  const [first] = rows as [SoftmaxRow];
  const { buffer, byteOffset } = first.logits;
  const lie = rows.every(
    ({ logits }, i) => logits.buffer === buffer && logits.byteOffset === byteOffset + i * width * 4,
  );
  if (lie) return new Float32Array(buffer, byteOffset, rows.length * width);
  const copy = new Float32Array(rows.length * width);
  rows.forEach(({ logits }, i) => void copy.set(logits, i * width));
  return copy;
}
