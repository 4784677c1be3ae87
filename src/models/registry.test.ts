import { expect, test } from "vitest";
import { checkConfig } from "./config.ts";
import { presetConfig, presets } from "./registry.ts";
import { weightShapes } from "./weights.ts";

const parameters = (name: string): number =>
  [...weightShapes(presetConfig(name)).values()].reduce(
    (sum, shape) => sum + shape.reduce((a, b) => a * b, 1),
    0,
  );

// The published numbers of parameters, to the last one.
test.each([
  ["llama2-7b", 6738415616],
  ["llama2-13b", 13015864320],
  ["llama3-8b", 8030261248],
  ["llama3.2-1b", 1235814400],
  ["llama3.2-3b", 3212749824],
  ["smollm2-135m", 134515008],
  ["smollm2-360m", 361821120],
  ["smollm2-1.7b", 1711376384],
  ["tinyllama", 1100048384],
  ["mistral-7b", 7248023552],
])("%s has %i parameters", (name, count) => {
  expect(parameters(name)).toBe(count);
  expect(() => checkConfig(presetConfig(name), name)).not.toThrow();
});

test("the error for an unknown name lists the known ones", () => {
  for (const name of ["llama4", "constructor"])
    expect(() => presetConfig(name)).toThrowError(
      expect.objectContaining({
        code: "not_found",
        message: expect.stringContaining(Object.keys(presets).join(", ")),
      }),
    );
});
