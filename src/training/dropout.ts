import { MosError, randomStream } from "#core";
import { after, reshape, slice, type Value, withRematerialisation } from "#graph";

// Dropout masks are random slices of one shared buffer, since drawing a mask of its own for every linear layer would
// cost 100 times as much.

/** Distance in the buffer between the masks of successive sites; a prime, so that their rows do not align. */
const STRIDE = 7919;

/** The masks that a buffer must hold. */
export interface MaskBufferOptions {
  /** Rows of a batch, N. */
  readonly rows: number;
  /** The widest input of an adapted linear layer. */
  readonly maxWidth: number;
  /** Adapted linear layers. */
  readonly modules: number;
}

/** The length of a mask buffer that is long enough for every site. */
export const maskBufferLength = ({ rows, maxWidth, modules }: MaskBufferOptions): number =>
  rows * maxWidth + (modules - 1) * STRIDE;

/**
 * The dropout mask [rows, width] of site `index`: a slice of the buffer, whose numbers are 0 or 1 / (1 − probability) and
 * are drawn for every micro-batch. The elements of one mask are independent; masks of different sites overlap.
 */
export function dropoutMask(
  buffer: Value,
  { rows, index, width }: { readonly rows: number; readonly index: number; readonly width: number },
): Value {
  const from = index * STRIDE;
  const cut = (numbers: Value): Value =>
    reshape(slice(numbers, { axis: 0, from, to: from + rows * width }), [rows, width]);
  // it is as large as the layer's input, so the backward pass cuts it out again
  return withRematerialisation(cut(buffer), (others) => cut(after(buffer, others)));
}

/**
 * The mask buffer of one micro-batch. It depends only on the seed and the number of the micro-batch, so that a resumed run
 * draws the same.
 *
 * @throws MosError `bad_option` for a probability outside [0, 1).
 */
export function drawMaskBuffer(
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
  const buffer = new Float32Array(length);
  for (let i = 0; i < length; i++) buffer[i] = random.uint32() < limit ? 0 : kept;
  return buffer;
}
