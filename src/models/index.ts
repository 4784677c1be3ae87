export type { LlamaConfig } from "./config.ts";
export { type FingerprintProgress, fingerprintOf, fingerprintSteps } from "./fingerprint.ts";
export { ggufName, toGgufRows } from "./gguf-layout.ts";
export { type AttentionHook, llama, llamaHead, weightLeaves } from "./llama.ts";
export { type LoadedModel, type LoadProgress, loadModel, type ModelFiles, openModel } from "./load.ts";
export { parseHuggingFaceConfig } from "./parse-config.ts";
export {
  dequantizeRows,
  QUANTIZATION,
  type Quantization,
  type QuantizationName,
  quantizeMatrix,
} from "./quantize.ts";
export { type PresetName, presetConfig, presets } from "./registry.ts";
export { ropeFrequencies } from "./rope-frequencies.ts";
export { loadModelText } from "./text.ts";
export { geometryOf, type Weight, weightShapes } from "./weights.ts";
export { huggingFaceConfig } from "./write-config.ts";
