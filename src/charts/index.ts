export { type Bar, type BarChartOptions, barChart } from "./bars.ts";
export { type HeatCell, type HeatMapOptions, heatMap } from "./heat-map.ts";
export type { Heading } from "./svg.ts";
