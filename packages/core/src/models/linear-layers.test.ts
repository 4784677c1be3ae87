import { leaf } from "mixture-of-shards-graph";
import { describe, expect, test } from "vitest";
import { GROUP_NAMES, GROUPS, LINEAR_NAMES, plainLinear, withBias } from "./linear-layers.ts";

describe("a linear layer", () => {
  const x = leaf("x", ["n", 4]);
  const weight = leaf("w", [6, 4]);
  const target = { layer: 0, linear: "q_proj" } as const;
  test("takes [n, in] to [n, out], with its bias or without", () => {
    expect(plainLinear(x, target, { weight, bias: undefined }).shape).toEqual(["n", 6]);
    expect(plainLinear(x, target, { weight, bias: leaf("b", [6]) }).shape).toEqual(["n", 6]);
    expect(() => plainLinear(x, target, { weight, bias: leaf("b", [4]) })).toThrowError(
      /do not fit together/,
    );
  });

  test("without a bias adds nothing", () => {
    expect(withBias(x, undefined)).toBe(x);
  });
});

test("groups share out all linear layers", () => {
  expect(GROUP_NAMES).toEqual(Object.keys(GROUPS));
  expect(GROUP_NAMES.flatMap((group) => GROUPS[group]).sort()).toEqual([...LINEAR_NAMES].sort());
});
