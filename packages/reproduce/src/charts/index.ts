export { type Bar, type BarChartOptions, barChart } from "./bar-chart.ts";
export { type HeatCell, type HeatMapOptions, heatMap } from "./heat-map.ts";
export { drawNorms } from "./norms.ts";
export type { Heading } from "./svg.ts";
