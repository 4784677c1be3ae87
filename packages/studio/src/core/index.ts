export {
  formatBytes,
  formatCount,
  formatDuration,
  formatLoss,
  formatRate,
  formatRelative,
  formatShare,
  formatTime,
} from "./format.ts";
export { href, navigate, type Query, route } from "./route.ts";
export { stored } from "./stored.ts";
