import { describe, expect, test } from "vitest";
import { leaf, type Value } from "#graph";
import { joinHeads, plainLinear, rotationTables, splitHeads, withBias } from "./index.ts";

const numbersOf = ({ source }: Value): Float32Array => {
  if (source.kind !== "constant" || !(source.data instanceof Float32Array)) throw new Error("not a constant");
  return source.data;
};

describe("rotation tables", () => {
  test("hold cosine and sine of position × frequency", () => {
    const { cosine, sine } = rotationTables({ frequencies: [1, 0.25], positions: 3 });
    expect(cosine.shape).toEqual([3, 2]);
    const angles = [0, 0, 1, 0.25, 2, 0.5];
    expect(numbersOf(cosine)).toEqual(Float32Array.from(angles, Math.cos));
    expect(numbersOf(sine)).toEqual(Float32Array.from(angles, Math.sin));
  });

  test("have float32 angles, as the reference implementations do", () => {
    const frequency = 0.1;
    const { cosine } = rotationTables({ frequencies: [frequency], positions: 4001 });
    const angle = Math.fround(4000 * Math.fround(frequency));
    expect(numbersOf(cosine)[4000]).toBe(Math.fround(Math.cos(angle)));
  });

  test("turn without changing lengths", () => {
    const { cosine, sine } = rotationTables({ frequencies: [1, 0.3, 1e-4], positions: 100 });
    const [c, s] = [numbersOf(cosine), numbersOf(sine)];
    c.forEach((x, i) => {
      expect(x ** 2 + s[i]! ** 2).toBeCloseTo(1, 6);
    });
  });
});

describe("heads", () => {
  const layout = { batch: 2, length: 5, heads: 3, headDim: 4 };
  test("are split off the width and joined to it again", () => {
    const split = splitHeads(leaf("x", [10, 12]), layout);
    expect(split.shape).toEqual([2, 3, 5, 4]);
    expect(joinHeads(split, layout, [10]).shape).toEqual([10, 12]);
  });

  test("of batches that only the run knows", () => {
    const open = { ...layout, batch: "batch", length: "tokens" };
    const split = splitHeads(leaf("x", ["batch", "tokens", 12]), open);
    expect(split.shape).toEqual(["batch", 3, "tokens", 4]);
    expect(joinHeads(split, open, ["batch", "tokens"]).shape).toEqual(["batch", "tokens", 12]);
  });
});

describe("a linear layer", () => {
  const x = leaf("x", ["n", 4]);
  const weight = leaf("w", [6, 4]);
  const site = { layer: 0, linear: "q_proj" } as const;
  test("takes [n, in] to [n, out], with its bias or without", () => {
    expect(plainLinear(x, site, { weight, bias: undefined }).shape).toEqual(["n", 6]);
    expect(plainLinear(x, site, { weight, bias: leaf("b", [6]) }).shape).toEqual(["n", 6]);
    expect(() => plainLinear(x, site, { weight, bias: leaf("b", [4]) })).toThrowError(/do not fit together/);
  });

  test("without a bias adds nothing", () => {
    expect(withBias(x, undefined)).toBe(x);
  });
});
