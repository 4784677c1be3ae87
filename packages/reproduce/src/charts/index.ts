export { type BudgetPlotOptions, type BudgetPoint, type BudgetSeries, budgetPlot } from "./budget-plot.ts";
export { type DotPlotOptions, type DotRow, dotPlot } from "./dot-plot.ts";
export type { Better, Heading } from "./heading.ts";
export { type HeatCell, type HeatMapOptions, heatMap } from "./heat-map.ts";
export { drawNorms } from "./norms.ts";
