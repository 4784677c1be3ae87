export { joinHeads, splitHeads } from "./heads.ts";
export {
  LINEAR_NAMES,
  type LinearHook,
  type LinearName,
  modulePath,
  plainLinear,
  type Site,
  siteKey,
  withBias,
} from "./linear.ts";
export { rotationTables } from "./rope.ts";
