export { grad } from "./grad.ts";
export { evaluateOnHost, type HostArray } from "./host.ts";

export { serialize } from "./onnx.ts";
export {
  type AttentionBlock,
  attention,
  type PackedBlocksOptions,
  packedBlocks,
  softmax,
} from "./ops/attention.ts";
export { depthwise, earlierToken } from "./ops/convolution.ts";
export {
  type AddedNorm,
  addRmsNorm,
  convolveSilu,
  fromCache,
  groupedAttention,
  type JoinedHeads,
  linearAttention,
  reshapeAs,
  rowProducts,
  rowsAt,
  shifted,
  toCache,
  windowMask,
} from "./ops/decoding.ts";
export { gatedDeltaRule } from "./ops/delta.ts";
export { NF4_LEVELS } from "./ops/dequantise.ts";
export { type DivergenceMeasure, divergence } from "./ops/divergence.ts";
export {
  add,
  broadcast,
  clip,
  div,
  exp,
  type GateActivation,
  gatedUnit,
  gelu,
  log,
  log1mexp,
  logSigmoid,
  minimum,
  mul,
  neg,
  relu,
  sigmoid,
  silu,
  softCap,
  softplus,
  sub,
  tanh,
} from "./ops/elementwise.ts";
export { embed, gatherRows, inverseIndex } from "./ops/gather.ts";
export { hadamard, hadamardRows } from "./ops/hadamard.ts";
export { linear, lowRankLinear, matmul } from "./ops/linear.ts";
export { crossEntropy, type TokenLogprobs } from "./ops/loss.ts";
export { type NormOptions, rmsNorm } from "./ops/norm.ts";
export { type BlockMatrix, type PackedMatrix, packedLinear } from "./ops/packed.ts";
export type { Nf4Matrix } from "./ops/quantised.ts";
export { max, mean, sum } from "./ops/reduce.ts";
export { type RotationTables, rotate, rotateJoined } from "./ops/rotary.ts";
export {
  after,
  concat,
  padAxis,
  reshape,
  slice,
  split,
  splitDynamic,
  splitEqual,
  transpose,
} from "./ops/shape.ts";
export {
  checkDevice,
  DEFAULT_DEVICE,
  DEVICES,
  type Device,
  prefersConstants,
  supports,
} from "./runtime/device.ts";
export { type ProgramPeak, programPeak } from "./runtime/peak.ts";
export type { HostTensor } from "./runtime/program.ts";
export { compile, type Program, type SessionOptions } from "./runtime/program.ts";
export { unwritten, writeAll } from "./runtime/write-constants.ts";
export { partName, storedWeight, weightLeaf } from "./stored-weight.ts";
export {
  checkpoint,
  constant,
  type DType,
  fileConstant,
  leaf,
  scalar,
  type TensorData,
  type Value,
  withRematerialisation,
} from "./value.ts";
