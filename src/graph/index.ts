export { grad } from "./grad.ts";
export { evaluateOnHost, type HostArray } from "./host.ts";
export { type SerializedProgram, type SerializeOptions, serialize } from "./onnx.ts";
export { NF4_LEVELS } from "./ops/dequantise.ts";
export { hadamardRows } from "./ops/hadamard.ts";
export * from "./ops/index.ts";
export { partName, storedWeight, weightLeaf } from "./stored-weight.ts";
export {
  checkpoint,
  constant,
  type Dim,
  type DType,
  type FileRange,
  fileConstant,
  int64s,
  leaf,
  type Node,
  nodesOf,
  type Shape,
  type StoredWeight,
  scalar,
  showShape,
  sizeOf,
  type TensorData,
  type Value,
  withGradient,
  withRematerialisation,
} from "./value.ts";
export {
  type BlockForm,
  type Int8RowsForm,
  LARGEST_ROW_CODE,
  type Nf4Form,
  type PartType,
  type PlainForm,
  type WeightForm,
  type WeightPart,
  weightBytes,
  weightParts,
} from "./weight-form.ts";
