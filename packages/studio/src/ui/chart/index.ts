export { Chart, type ChartProps } from "./chart.tsx";
export type { Series } from "./plot.ts";
export type { Range } from "./range.ts";
export { smoothed, type Values } from "./smooth.ts";
