export type { BaseDtype } from "./base-dtype.ts";
export {
  BASE_DTYPES,
  baseDtype,
  COMPUTE_DTYPES,
  type ComputeDtype,
  computeDtype,
  defaultComputeDtype,
  hasTransposedCodes,
} from "./base-dtype.ts";
export type { ModelConfig } from "./config.ts";
export { configText, huggingFaceConfig, parseHuggingFaceConfig } from "./config-json.ts";
export {
  type DecoderOptions,
  decoder,
  eachLinear,
  headWeight,
  type ProjectHook,
  weightLeaves,
} from "./decoder.ts";
export { dequantizeWeight } from "./dequantize-weight.ts";
export { headerNumber } from "./families/gguf-fields.ts";
export {
  computeFingerprint,
  computeIdentity,
  type FingerprintProgress,
  fingerprintSteps,
} from "./fingerprint.ts";
export {
  canSharePrompts,
  layerHeads,
  layerKind,
  layerRope,
  layerWindow,
  rotatedWidth,
  scoreScale,
  steadyPositions,
} from "./geometry.ts";
export { ggufArchitecture, ggufName, ggufPlace } from "./gguf-model.ts";
export { reorderColumns, reorderRows } from "./gguf-order.ts";
export { describeStorage, inspectModel, type ModelInspection } from "./inspect-model.ts";
export {
  type DecoderSettings,
  describePool,
  type LayerShapes,
  listPools,
  listTargets,
  type Pool,
  type PoolName,
  toLayerShapes,
  type Widths,
} from "./layer-shapes.ts";
export {
  COMMON_LINEARS,
  findLinear,
  groupKey,
  type LayerGroup,
  LINEAR_NAMES,
  type LinearHook,
  type LinearName,
  moduleKey,
  modulePath,
  plainLinear,
  SMALL_LINEARS,
  type TargetModule,
  withBias,
} from "./linear-layers.ts";
export {
  type BaseModel,
  folderBeside,
  type LoadedModel,
  type LoadOptions,
  loadBase,
  loadModel,
  loadModelText,
  loadText,
  type ModelFiles,
  openModel,
  readModelConfig,
} from "./load.ts";
export {
  type DownloadEvent,
  type LocateCalls,
  type LocateOptions,
  locatedPath,
  locateModel,
} from "./locate-model.ts";
export {
  type AttentionHook,
  type CachedTensor,
  cachedTensors,
  type EarlierHook,
  type RecurrentHook,
  type StateTensor,
  stateTensors,
} from "./mixers/index.ts";
export { isForPictures, modulePrefixIn } from "./nested.ts";
export { baseBytes, baseFromConfig, baseFromFiles, type PlannedBase, planBase } from "./planned-base.ts";
export { PRESET_NAMES, PRESETS, type PresetName, presetConfig, RECENT_NAMES } from "./presets/index.ts";
export { baseFormats, type LoadProgress, type ModelHashes, readWeights } from "./read-weights.ts";
export { transposeCodes } from "./row-writer.ts";
export { type SingularFactors, singularFactors, toBaseShapes } from "./singular-factors.ts";
export { sourceDigest } from "./source-digest.ts";
export { truncatedSvd } from "./truncated-svd.ts";
export {
  type FloatTensor,
  feedWeights,
  fileWeight,
  floatData,
  floatTensors,
  floatWeight,
  storageFormats,
  type Weight,
  weightFeeds,
} from "./weight.ts";
export {
  isMatrix,
  LAYER_EMBEDDINGS,
  layerGroups,
  listLayerGroups,
  modulePlace,
  parameterCount,
  storedOffset,
  storedPlace,
  storedShapes,
  weightShapes,
} from "./weights.ts";
