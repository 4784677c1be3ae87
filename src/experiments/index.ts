// Experiments: the paper's tables and figure, run again on any model. Start with tables.ts, then reproduce.ts,
// run-cell.ts and measure-cell.ts.
export type { BenchmarkOptions } from "./benchmarks.ts";
export type { Row, RowContext } from "./fit-row.ts";
export { reproduce } from "./reproduce.ts";
export type { ReproduceEvent } from "./reproduce-event.ts";
export { type ReproduceOptions, TRAINING_DEFAULTS, type TrainingSettings } from "./settings.ts";
export {
  EXPERIMENTS,
  type Experiment,
  type ExperimentName,
  experimentOf,
  FIGURE_AXES,
  type FigureAxes,
  withPlainBase,
} from "./tables.ts";
