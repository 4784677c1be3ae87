export { checkConfig, type LlamaConfig, type RopeConfig } from "./config.ts";
export { type FingerprintProgress, fingerprint, fingerprintOf, fingerprintSteps } from "./fingerprint.ts";
export { fromGgufRows, ggufName, toGgufRows } from "./gguf-layout.ts";
export { type AttentionHook, type LlamaOptions, llama, llamaHead, weightLeaves } from "./llama.ts";
export {
  type LoadedModel,
  type LoadModelOptions,
  type LoadProgress,
  loadModel,
  type ModelFiles,
  type ModelSource,
  openModel,
} from "./load.ts";
export { type ParseConfigOptions, parseHuggingFaceConfig } from "./parse-config.ts";
export {
  dequantizeRows,
  type MatrixSize,
  QUANTIZATION,
  type Quantization,
  type QuantizationName,
  type QuantizeSettings,
  quantizeMatrix,
} from "./quantize.ts";
export { type PresetName, presetConfig, presets } from "./registry.ts";
export { ropeFrequencies } from "./rope-frequencies.ts";
export { loadModelText } from "./text.ts";
export { checkFinite, checkShapes, geometryOf, type Weight, weightShapes } from "./weights.ts";
export { huggingFaceConfig } from "./write-config.ts";
