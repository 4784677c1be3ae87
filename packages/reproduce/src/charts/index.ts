export { type DotPlotOptions, type DotRow, dotPlot } from "./dot-plot.ts";
export { type HeatCell, type HeatMapOptions, heatMap } from "./heat-map.ts";
export { drawNorms } from "./norms.ts";
export type { Better, Heading } from "./svg.ts";
