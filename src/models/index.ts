export type { LlamaConfig } from "./config.ts";
export { huggingFaceConfig, parseHuggingFaceConfig } from "./config-json.ts";
export {
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
export { type FingerprintProgress, fingerprintOf, fingerprintSteps } from "./fingerprint.ts";
export { ggufName, toGgufRows } from "./gguf.ts";
export {
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
export { geometryOf, type Weight, weightShapes } from "./weights.ts";
