export { type HeadLayout, joinHeads, splitHeads } from "./heads.ts";
export {
  LINEAR_NAMES,
  type LinearHook,
  type LinearName,
  type LinearWeights,
  plainLinear,
  type Site,
  withBias,
} from "./linear.ts";
export { type RotationOptions, rotationTables } from "./rope.ts";
