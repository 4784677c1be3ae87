// What packing works on, and what it gives.
import type { BlockForm } from "#files";
import type { BlockMatrix, Nf4Matrix } from "#graph";

/** The arrays of a packed matrix, in the place of the constants that it is made of. */
interface Arrays {
  readonly codes: Uint8Array;
  readonly scales: Float32Array;
}
export interface BlockArrays
  extends Omit<BlockMatrix, "codes" | "scales" | "zeroPoints" | "offsets">,
    Arrays {
  readonly zeroPoints?: Uint8Array | undefined;
  readonly offsets?: Float32Array | undefined;
}
export interface Nf4Arrays extends Omit<Nf4Matrix, "codes" | "scales">, Arrays {}
export type MatrixArrays = BlockArrays | Nf4Arrays;

/** Blocks of a matrix without its codes. */
export interface Blocks {
  readonly form: BlockForm;
  readonly out: number;
  readonly width: number;
  /** Blocks of a row. */
  readonly blocks: number;
  /** [out, blocks] */
  readonly scales: Float32Array;
  /** [out, blocks] */
  readonly offsets: Float32Array | undefined;
}
