export { childOptions, moduleBeside } from "./child-options.ts";
export { pause, steadyNow } from "./clock.ts";
export { limitConcurrency } from "./concurrency.ts";
export { type ErrorCode, MosError, oneLine, reasonOf } from "./error.ts";
export { canonicalJson, decodeText, describeIssues, parseJson, parseWith } from "./json.ts";
export { type Random, randomStream } from "./random.ts";
export {
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
  type ValueOf,
} from "./settings.ts";
