export { type AdapterFiles, type OpenedAdapter, openAdapterFiles } from "./adapter-files.ts";
export { checkBase, readAdapterBase, type SavedBase } from "./base-of.ts";
export { type Budget, budget } from "./budget.ts";
export { type Adapter, createAdapter, drawTensor } from "./create.ts";
export { deltaOf, type ExpandedFactors, expandFactors, expandOnHost } from "./expand.ts";
export { type AdapterBase, CONFIG as ADAPTER_CONFIG } from "./folder-config.ts";
export { type AdapterHookOptions, adapterHook } from "./hook.ts";
export { type AdapterLeaves, adapterLeaves } from "./leaves.ts";
export type {
  AdapterGeometry,
  AdapterMethod,
  AdapterTensor,
  AdapterTensors,
  Factors,
  RoutingTable,
  TensorSpec,
  Widths,
} from "./method.ts";
export {
  type AdapterConfig,
  type AdapterConfigInput,
  METHOD_NAMES,
  type MethodName,
  methodOf,
  methods,
  parseAdapterConfig,
} from "./methods.ts";
export { type SiteNorms, siteNorms } from "./norms.ts";
export { TENSORS as ADAPTER_TENSORS } from "./open-tensors.ts";
export type { DrawTensor, LoadAdapterOptions } from "./read-adapter.ts";
export { readGeometry } from "./read-geometry.ts";
export { type RoutingUse, routingUse } from "./routing-use.ts";
export { loadAdapter, saveAdapter, writeAdapterFiles } from "./store.ts";
export { shardCounts } from "./widths.ts";
