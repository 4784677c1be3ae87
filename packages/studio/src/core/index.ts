export {
  countOf,
  formatBytes,
  formatCount,
  formatDuration,
  formatLoss,
  formatRate,
  formatRelative,
  formatShare,
  formatTime,
  formatValue,
  hasWords,
  labelOf,
  nowInSeconds,
} from "./format.ts";
export { isFields } from "./json.ts";
export { href, navigate, type Query, route, type ViewProps } from "./route.ts";
export { saveFile } from "./save.ts";
export { set, stored, storedFlag, toggled } from "./stored.ts";
