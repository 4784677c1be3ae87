export { childOptions } from "./child-options.ts";
export { limitConcurrency } from "./concurrency.ts";
export { type ErrorCode, MosError } from "./error.ts";
export { canonicalJson, decodeText, describeIssues, parseJson, parseWith } from "./json.ts";
export { type Random, randomStream } from "./random.ts";
export { anyNumber, belowOne, oneOf, positiveNumber, wholeNumber, yesOrNo } from "./schema-pieces.ts";
export {
  bytes,
  choice,
  expected,
  flag,
  integer,
  listOf,
  names,
  number,
  parseSettings,
  parseWithSchema,
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
  withoutDefaults,
} from "./settings.ts";
