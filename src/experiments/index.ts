// Experiments: the paper's tables and figure, run again on any model. Start with tables.ts, then reproduce.ts,
// run-cell.ts and measure-cell.ts.
export type { BenchmarkOptions } from "./benchmarks.ts";
export type { Row } from "./fit-row.ts";
export { reproduce } from "./reproduce.ts";
export type { ReproduceEvent } from "./reproduce-event.ts";
export type { ReproduceOptions } from "./settings.ts";
export { EXPERIMENTS, type ExperimentName, experimentOf, FIGURE_AXES, withPlainBase } from "./tables.ts";
