// Memory over time, of a server's process and its engine's.
import { rounded } from "../arguments.ts";
import type { Memory } from "./child-server.ts";

export interface MemoryLog {
  add(seconds: number, memory: Memory): void;
  last(): Memory | undefined;
  /** Another process is there: what was seen before does not count. */
  restart(): void;
  /** Megabytes after the first fifth of the time and at the end, and the slope between the two. */
  report(): Readonly<Record<string, Readonly<Record<string, number>>>>;
}

type Sample = readonly [seconds: number, memory: Memory];

/** Slope of the straight line with the least squares. */
function slope(points: readonly (readonly [number, number])[]): number {
  const mean = (of: (point: readonly [number, number]) => number): number =>
    points.reduce((sum, point) => sum + of(point), 0) / points.length;
  const [x, y] = [mean((point) => point[0]), mean((point) => point[1])];
  return mean((point) => (point[0] - x) * (point[1] - y)) / mean((point) => (point[0] - x) ** 2);
}

export function createMemoryLog(): MemoryLog {
  let samples: Sample[] = [];
  const of = (name: keyof Memory): Readonly<Record<string, number>> => {
    const start = samples[0]?.[0] ?? 0;
    const end = samples.at(-1)?.[0] ?? 0;
    const warm = samples.filter(([seconds]) => seconds - start >= (end - start) / 5);
    const points = warm.map(([seconds, memory]) => [seconds / 60, memory[name] / 1e6] as const);
    const megabytes = (point: readonly [number, number] | undefined): number =>
      rounded(point?.[1] ?? Number.NaN, 1);
    return {
      warm_mb: megabytes(points[0]),
      end_mb: megabytes(points.at(-1)),
      most_mb: rounded(Math.max(...points.map((point) => point[1])), 1),
      slope_mb_per_minute: rounded(slope(points), 2),
    };
  };
  return {
    add: (seconds, memory) => void samples.push([seconds, memory]),
    last: () => samples.at(-1)?.[1],
    restart: () => {
      samples = [];
    },
    report: () => ({ server: of("server"), engine: of("engine") }),
  };
}
