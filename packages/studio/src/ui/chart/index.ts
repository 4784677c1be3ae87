export { Chart, type ChartProps } from "./chart.tsx";
export type { Series } from "./plot.ts";
export { smoothed, type Values } from "./smooth.ts";
export { thinned } from "./thin.ts";
