import type { Value } from "mixture-of-shards-graph";
import { describe, expect, test } from "vitest";
import { rotationTables } from "./rotation.ts";

const readNumbers = ({ source }: Value): Float32Array => {
  if (source.kind !== "constant" || !(source.data instanceof Float32Array)) throw new Error("not a constant");
  return source.data;
};

const ofTheta = (rotaryDim: number, theta: number, positions: number) => ({
  rotaryDim,
  positions,
  rope: { kind: "default", theta } as const,
});

describe("rotation tables", () => {
  test("hold cosine and sine of position × frequency", () => {
    const { cosine, sine } = rotationTables(ofTheta(4, 16, 3)); // frequencies 1 and 0.25
    expect(cosine.shape).toEqual([3, 2]);
    const angles = [0, 0, 1, 0.25, 2, 0.5];
    expect(readNumbers(cosine)).toEqual(Float32Array.from(angles, Math.cos));
    expect(readNumbers(sine)).toEqual(Float32Array.from(angles, Math.sin));
  });

  test("have float32 angles, as the reference implementations do", () => {
    const { cosine } = rotationTables(ofTheta(4, 100, 4001)); // frequencies 1 and 0.1
    const angle = Math.fround(4000 * Math.fround(0.1));
    expect(readNumbers(cosine)[2 * 4000 + 1]).toBe(Math.fround(Math.cos(angle)));
  });

  test("turn without changing lengths", () => {
    const { cosine, sine } = rotationTables(ofTheta(6, 10000, 100));
    const [c, s] = [readNumbers(cosine), readNumbers(sine)];
    c.forEach((x, i) => {
      expect(x ** 2 + s[i]! ** 2).toBeCloseTo(1, 6);
    });
  });
});
