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
export { abortAfter, closeWhenIdle, limitConcurrency, onAbort, withProgress } from "./concurrency.ts";
export { type FreeMemory, freeMemory, limitedMemory } from "./free-memory.ts";
export * from "./json.ts";
export * from "./memory-plan.ts";
export { AsyncQueue } from "./queue.ts";
export { rootCause } from "./root-cause.ts";
export * from "./rpc.ts";
export * from "./settings.ts";
export { similarName, unknownName } from "./similar-name.ts";
export { describeBytes, describeCount } from "./units.ts";
