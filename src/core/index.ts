export { childOptions } from "./child-options.ts";
export { type ErrorCode, MosError } from "./error.ts";
export { canonicalJson, decodeText, parseJson, parseWith } from "./json.ts";
export { limiter } from "./limiter.ts";
export { type Random, randomStream } from "./random.ts";
export {
  anyNumber,
  belowOne,
  expected,
  oneOf,
  parseSettings,
  positiveNumber,
  show,
  wholeNumber,
  yesOrNo,
} from "./settings.ts";
