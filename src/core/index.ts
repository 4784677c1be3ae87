export { childOptions, moduleBeside } from "./child-options.ts";
export { pause, steadyNow } from "./clock.ts";
export { limitConcurrency } from "./concurrency.ts";
export { type ErrorCode, MosError, oneLine, reasonOf } from "./error.ts";
export { type FreeMemory, freeMemory, limitedMemory } from "./free-memory.ts";
export { canonicalJson, decodeText, describeIssues, parseJson, parseWith } from "./json.ts";
export {
  describePlan,
  expectMemory,
  fitsMemory,
  type MemoryPlan,
  memoryPlan,
  remedyText,
} from "./memory-plan.ts";
export { AsyncQueue } from "./queue.ts";
export { type Random, randomStream } from "./random.ts";
export {
  adjust,
  bytes,
  choice,
  flag,
  integer,
  jsonObject,
  listOf,
  names,
  number,
  parseSettings,
  pick,
  type Setting,
  type SettingInput,
  type Settings,
  type SettingValues,
  shapeOf,
  show,
  text,
  texts,
} from "./settings.ts";
export { type Dim, DTYPE_BYTES, type DType, type Shape, sizeOf } from "./tensor-type.ts";
export { describeBytes, describeCount } from "./units.ts";
