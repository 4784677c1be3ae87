export {
  attempt,
  countElements,
  type Dim,
  DTYPE_BYTES,
  type DType,
  type ErrorCode,
  errorText,
  MosError,
  oneLine,
  type Random,
  randomStream,
  type Shape,
} from "mixture-of-shards-graph/common";
export { concatBytes, equalBytes, utf8Length } from "./bytes.ts";
export { checkCall, checkKind, kinds, locateKinds, type OptionKinds } from "./call-options.ts";
export { monotonicNow } from "./clock.ts";
export { closeWhenIdle, limitConcurrency, withProgress } from "./concurrency.ts";
export { type FreeMemory, freeMemory, limitedMemory } from "./free-memory.ts";
export {
  canonicalJson,
  decodeText,
  describeEncoding,
  describeIssues,
  isRecord,
  isUtf16,
  parseJson,
  parseWith,
  quoteNames,
  readIssues,
  tryJson,
} from "./json.ts";
export {
  assertMemory,
  chooseWay,
  describePlan,
  fitsMemory,
  type MemoryPlan,
  memoryPlan,
  usableMemory,
} from "./memory-plan.ts";
export { AsyncQueue } from "./queue.ts";
export {
  type CallContext,
  type CallEvents,
  Caller,
  type CallOptions,
  type Channel,
  type Methods,
  serveCalls,
} from "./rpc.ts";
export {
  adjust,
  bytes,
  distinct,
  expected,
  flag,
  matching,
  omitUndefined,
  parseSettings,
  pick,
  type Setting,
  type SettingInfo,
  type SettingInput,
  type Settings,
  type SettingValues,
  setting,
  settingInfo,
  show,
  snakeCase,
} from "./settings.ts";
export { similarName, unknownName } from "./similar-name.ts";
export { describeBytes, describeCount } from "./units.ts";
