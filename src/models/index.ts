export type { BaseDtype } from "./base-dtype.ts";
export { type BaseModel, type LoadOptions, loadBase, loadModel, loadText } from "./base-model.ts";
export { BASE_DTYPES, baseDtype, COMPUTE_DTYPES, type ComputeDtype, computeDtype } from "./base-settings.ts";
export type { ModelConfig } from "./config.ts";
export { huggingFaceConfig, parseHuggingFaceConfig } from "./config-json.ts";
export { configText } from "./config-text.ts";
export {
  type AttentionHook,
  type DecoderOptions,
  decoder,
  eachLinear,
  headWeight,
  type ProjectHook,
  type WeightValues,
  weightLeaves,
} from "./decoder.ts";
export { dequantizeWeight } from "./dequantize-weight.ts";
export { type FingerprintProgress, fingerprintOf, fingerprintSteps, identityOf } from "./fingerprint.ts";
export { attentionScaleOf, steadyPositions, windowOf } from "./geometry.ts";
export { ggufArchitecture, ggufName, toGgufRows } from "./gguf.ts";
export {
  formText,
  type InspectModelOptions,
  inspectModel,
  type ModelInspection,
} from "./inspect-model.ts";
export { type LoadedModel, loadModelText, loadWeights, type ModelFiles, openModel } from "./load.ts";
export {
  type DownloadEvent,
  type LocateCalls,
  type LocateOptions,
  locatedPath,
  locateModel,
} from "./locate.ts";
export { isForPictures, modulePrefixIn } from "./nested.ts";
export { baseBytes, baseOfConfig, baseOfFiles, type PlannedBase } from "./planned-base.ts";
export { PRESET_NAMES, type PresetName, presetConfig } from "./presets.ts";
export { parameterCount, readModelConfig } from "./read-config.ts";
export { baseForms, type LoadProgress, type ModelHashes, readWeights } from "./read-weights.ts";
export { sourceDigest } from "./source-digest.ts";
export {
  bytesOfWeight,
  type FloatTensor,
  feedsOf,
  floatData,
  floatTensors,
  floatWeight,
  formsOf,
  type Weight,
  weightFeeds,
} from "./weight.ts";
export { gainOffsetOf, geometryOf, storedPlace, storedShapes, weightShapes } from "./weights.ts";
