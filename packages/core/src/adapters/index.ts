export {
  type Adapter,
  type AdapterConfig,
  adapterHook,
  adapterLeaves,
  bindMethod,
  blankAdapter,
  createAdapter,
  drawSeeded,
  drawTensor,
  METHOD_NAMES,
  type MethodName,
  methods,
  startAdapter,
} from "./adapter.ts";
export {
  type AdapterConfigInput,
  adapterSettings,
  DEFAULT_METHOD,
  findProblem,
  fittingConfig,
  parseAdapterConfig,
} from "./adapter-settings.ts";
export {
  checkBase,
  checkDecoder,
  describeTrainedOn,
  OTHER_TOKENS,
  type TrainedOn,
  UNKNOWN_TOKENS,
} from "./base-match.ts";
export { type AdapterParams, adapterParams, type Budget, budget } from "./budget.ts";
export {
  computeDelta,
  type ExpandedFactors,
  expandFactors,
  expandOnHost,
  type FactorMap,
  MERGE_LIMIT,
} from "./expand.ts";
export {
  type AdapterDescription,
  type AdapterFolder,
  loadAdapter,
  openAdapterFolder,
} from "./folder.ts";
export {
  type AdapterBase,
  commonFields,
  IMPORTED_OPTIONS,
  REFUSED_OPTIONS,
  refuseOptions,
  type SavedBase,
  type SavedFields,
  savedBase,
} from "./folder-config.ts";
export {
  ADAPTER_CONFIG,
  ADAPTER_TENSORS,
  folderVersion,
  MAX_CONFIG_BYTES,
  readAdapterBase,
  saveAdapter,
  writeAdapterFiles,
  writeFolderFiles,
} from "./folder-files.ts";
export { type AdapterLayers, type Inspection, inspectAdapter, readAdapterLayers } from "./inspect-adapter.ts";
export type { AdapterTensor, Factors, LayerShapes, TensorSpec, Widths } from "./method.ts";
export { shardCounts } from "./method-parts.ts";
export {
  FLEETS,
  PAPER_ROWS,
  type PaperTableRow,
  PRECISIONS,
  type Precision,
  paperTable,
} from "./paper-table.ts";
export {
  ADAPTER_FILES,
  explainMissingAdapter,
  findAdapter,
  isAdapterInUse,
  type ListedAdapter,
  listAdapter,
  listAdapters,
  listVersions,
  RETRAINING,
  type RolledBack,
  RUN_ENTRIES,
  RUN_FILES,
  removeVersions,
  replaceAdapter,
  retrainingFolder,
  rollBack,
  unfinishedText,
} from "./versions.ts";
