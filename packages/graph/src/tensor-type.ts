import { MosError } from "./error.ts";

/** Element types of tensors, those of ONNX that this package uses. */
export type DType =
  | "float32"
  | "float16"
  | "bfloat16"
  | "int64"
  | "int32"
  | "uint16"
  | "uint8"
  | "int8"
  | "bool";

/** Bytes of one number. */
export const DTYPE_BYTES: Readonly<Record<DType, number>> = {
  float32: 4,
  float16: 2,
  bfloat16: 2,
  int64: 8,
  int32: 4,
  uint16: 2,
  uint8: 1,
  int8: 1,
  bool: 1,
};

/** A dimension is a number, or a name where only the run knows it. Equal names mean equal sizes. */
export type Dim = number | string;
/** The sizes of all axes, the outermost first; `[]` is a scalar. */
export type Shape = readonly Dim[];

/** What is known of a tensor before there is one. */
export interface TensorType {
  readonly shape: Shape;
  readonly dtype: DType;
}

/**
 * The number of elements of a tensor of this shape.
 *
 * @throws MosError `bad_config` where a dimension is a name, known only to the run.
 */
export const countElements = (shape: Shape): number =>
  shape.reduce<number>((size, dim) => {
    if (typeof dim === "string")
      throw new MosError("bad_config", `dimension ${dim} has no size before the run`);
    return size * dim;
  }, 1);
