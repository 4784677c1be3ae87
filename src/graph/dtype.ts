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
