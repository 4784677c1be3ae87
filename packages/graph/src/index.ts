export { grad } from "./grad.ts";
export { evaluateOnHost } from "./host.ts";
export { serialize } from "./onnx.ts";
export { NF4_LEVELS } from "./ops/dequantise.ts";
export type { DivergenceMeasure } from "./ops/divergence.ts";
export { hadamardRows } from "./ops/hadamard.ts";
export * from "./ops/index.ts";
export type { TokenLogprobs } from "./ops/loss.ts";
export { int8Forward, type Nf4Matrix } from "./ops/quantised.ts";
export {
  checkDevice,
  DEFAULT_DEVICE,
  DEVICES,
  type Device,
  prefersConstants,
  supports,
} from "./runtime/device.ts";
export { type ProgramPeak, programPeak } from "./runtime/peak.ts";
export { compile, type Program, type SessionOptions } from "./runtime/program.ts";
export { unwritten, writeAll } from "./runtime/write-constants.ts";
export { partName, storedWeight, weightLeaf } from "./stored-weight.ts";
export {
  checkpoint,
  constant,
  type DType,
  type FileRange,
  fileConstant,
  type HostTensor,
  leaf,
  scalar,
  type TensorData,
  type Value,
  withRematerialisation,
} from "./value.ts";
