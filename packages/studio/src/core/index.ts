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
} from "./format.ts";
export { href, navigate, type Query, route, type ViewProps } from "./route.ts";
export { saveFile } from "./save.ts";
export { stored, storedFlag } from "./stored.ts";
