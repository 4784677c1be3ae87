// Experiments: the paper's tables and figure, run again on any model. Start with tables.ts, then reproduce.ts,
// run-cell.ts and measure-cell.ts.
export { reproduceProgress } from "./progress.ts";
export { redraw } from "./report.ts";
export { reproduce } from "./reproduce.ts";
export type { ReproduceEvent } from "./run-cells.ts";
export {
  adapterSettings,
  baseSettings,
  benchmarkSettings,
  gridSettings,
  machineSettings,
  measuringSettings,
  type ReproduceOptions,
  trainingSettings,
} from "./settings.ts";
export type { Row } from "./tables.ts";
export { buildExperiment, EXPERIMENTS, selectRows, withPlainBase } from "./tables.ts";
