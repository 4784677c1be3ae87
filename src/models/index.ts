export type { LlamaConfig } from "./config.ts";
export { huggingFaceConfig, parseHuggingFaceConfig } from "./config-json.ts";
export {
  type AddNormHook,
  type AttentionHook,
  type DecoderOptions,
  decoder,
  eachLinear,
  type Heads,
  headWeight,
  type ProjectHook,
  type WeightValues,
  weightLeaves,
} from "./decoder.ts";
export { type FingerprintProgress, fingerprintOf, fingerprintSteps, identityOf } from "./fingerprint.ts";
export { ggufName, toGgufRows } from "./gguf.ts";
export {
  type BaseDtype,
  type LoadedModel,
  type LoadProgress,
  loadModel,
  loadModelText,
  type ModelFiles,
  openModel,
} from "./load.ts";
export {
  dequantizeRows,
  QUANTIZATION,
  type Quantization,
  type QuantizationName,
  type QuantizeSettings,
  quantizeMatrix,
} from "./quantize.ts";
export { type PresetName, presetConfig, presets } from "./registry.ts";
export {
  bytesOfWeight,
  dequantizeWeight,
  type FloatTensor,
  floatData,
  floatTensors,
  floatWeight,
  type RowRange,
  type Weight,
  type WeightTensor,
  weightFeeds,
} from "./weight.ts";
export { geometryOf, weightShapes } from "./weights.ts";
