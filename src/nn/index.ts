export { type HeadLayout, joinHeads, splitHeads } from "./heads.ts";
export {
  LINEAR_NAMES,
  type LinearHook,
  type LinearName,
  type LinearWeights,
  modulePath,
  plainLinear,
  type Site,
  siteKey,
  withBias,
} from "./linear.ts";
export { type RotationOptions, rotationTables } from "./rope.ts";
