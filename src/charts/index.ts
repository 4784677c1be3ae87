export { type Bar, barChart } from "./bars.ts";
export { type HeatCell, heatMap } from "./heat-map.ts";
