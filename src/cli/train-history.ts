import { join } from "node:path";
import { pathExists, readJsonLines } from "#storage";
import { type CurvePoint, drawCurve } from "./curve.ts";

/** The losses of a run from its first step on, those before a break included. */
export interface TrainHistory {
  readonly steps: readonly CurvePoint[];
  readonly heldOut: readonly CurvePoint[];
}

function pointOf(value: unknown): (CurvePoint & { readonly type: unknown }) | undefined {
  if (typeof value !== "object" || value === null || !("step" in value && "loss" in value && "type" in value))
    return undefined;
  const { type, step, loss } = value;
  return typeof step === "number" && typeof loss === "number" ? { type, step, loss } : undefined;
}

/** Reads the metrics of a run folder. */
export async function readHistory(folder: string): Promise<TrainHistory> {
  const steps: CurvePoint[] = [];
  const heldOut: CurvePoint[] = [];
  const path = join(folder, "metrics.jsonl");
  if (await pathExists(path))
    for await (const { value } of readJsonLines(path)) {
      const point = pointOf(value);
      if (point?.type === "step") steps.push(point);
      if (point?.type === "evaluation") heldOut.push(point);
    }
  return { steps, heldOut };
}

const withPerplexity = (loss: number): string =>
  `${loss.toFixed(3)} (perplexity ${Math.exp(loss).toFixed(2)})`;

/** `2.310 (perplexity 10.07) → 1.204 (perplexity 3.33)`, and the best in between where it is another. */
export function heldOutText(heldOut: readonly CurvePoint[]): string | undefined {
  const [before, after] = [heldOut[0], heldOut.at(-1)];
  if (before === undefined || after === undefined) return undefined;
  if (before.step === after.step) return withPerplexity(after.loss);
  const best = heldOut.reduce((least, point) => (point.loss < least.loss ? point : least));
  const text = `${withPerplexity(before.loss)} → ${withPerplexity(after.loss)}`;
  return best.step === after.step || best.step === before.step
    ? text
    : `${text}, best ${best.loss.toFixed(3)} at step ${best.step}`;
}

/** The curve of the training loss, or "" where two steps do not make one. */
export const curveText = ({ steps }: TrainHistory, columns: number): string =>
  steps.length < 3 ? "" : drawCurve(steps, { width: Math.min(columns, 72), height: 8 });
