import { MosError, randomStream } from "#core";
import { reshape, slice, type Value } from "#graph";

/** Places on the tape between the masks of neighbouring sites; a prime, so that rows do not line up. */
const STRIDE = 7919;

/** How a site finds its mask on the tape. */
export interface TapeLayout {
  /** N */
  readonly rows: number;
  /** The widest input of an adapted linear layer. */
  readonly widest: number;
  readonly sites: number;
}

/** Numbers of a tape that is long enough for every site. */
export const tapeLength = ({ rows, widest, sites }: TapeLayout): number =>
  rows * widest + (sites - 1) * STRIDE;

/**
 * Dropout masks for every site of a step, cut from one tape of 0 and 1 / (1 − probability) that is drawn anew for every
 * step: within a site all places are independent, and a site's mask is another one at every step. One tape costs
 * 1 / 100 of what a mask of its own for each site would.
 */
export function dropoutMask(
  tape: Value,
  { rows, index, width }: { readonly rows: number; readonly index: number; readonly width: number },
): Value {
  const from = index * STRIDE;
  return reshape(slice(tape, { axis: 0, from, to: from + rows * width }), [rows, width]);
}

/** The tape of one micro-batch; it depends on the seed and the micro-batch alone, so a resumed run draws the same. */
export function drawTape(
  length: number,
  {
    seed,
    microBatch,
    probability,
  }: { readonly seed: number; readonly microBatch: number; readonly probability: number },
): Float32Array {
  if (!(probability >= 0 && probability < 1))
    throw new MosError("bad_option", `dropout ${probability} is not in [0, 1)`);
  const random = randomStream(seed, `dropout.${microBatch}`);
  const limit = probability * 4294967296;
  const kept = 1 / (1 - probability);
  const tape = new Float32Array(length);
  for (let i = 0; i < length; i++) tape[i] = random.uint32() < limit ? 0 : kept;
  return tape;
}
