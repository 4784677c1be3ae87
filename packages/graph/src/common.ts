// What other packages share with this one. It loads no ONNX Runtime.
export { attempt, type ErrorCode, errorText, MosError, oneLine } from "./error.ts";
export { float16Value } from "./float16.ts";
export { type Random, randomStream } from "./random.ts";
export { countElements, type Dim, DTYPE_BYTES, type DType, type Shape } from "./tensor-type.ts";
export type { PlainFormat } from "./weight-form.ts";
export {
  type BlockFormat,
  type Int8RowsFormat,
  isInFile,
  MAX_ROW_CODE,
  type Nf4Format,
  type WeightFormat,
  type WeightPart,
  weightBytes,
  weightParts,
} from "./weight-form.ts";
