import fc from "fast-check";
import { expect, test } from "vitest";
import { emptyMoments } from "./checkpoint.ts";
import type { ScheduleName } from "./settings.ts";
import { adamW, clipFactor, globalNorm, learningRateFactor } from "./update.ts";

test("three clipped updates are those of torch.optim.AdamW and clip_grad_norm_", () => {
  const parameter = Float32Array.of(0.5, -1.25, 2);
  const moments = emptyMoments(3);
  const gradients = [
    [0.1, -0.2, 0.3],
    [0.05, 0.4, -0.6],
    [-1, 0.25, 0.125],
  ].map((g) => Float32Array.from(g));
  const norms = [0.37416573867739417, 0.722841614740048, 1.0383279828647594];
  const torch = [
    [0.4895000009999999, -1.2387500005, 1.9880000003333334],
    [0.48015694721367375, -1.2396107604094218, 1.9881115102717957],
    [0.484356414728236, -1.2420519419299247, 1.9870027245665824],
  ];
  gradients.forEach((gradient, i) => {
    const norm = globalNorm([gradient]);
    expect(norm).toBeCloseTo(norms[i]!, 6);
    adamW(parameter, gradient, {
      moments,
      learningRate: 0.01,
      step: i + 1,
      gradientScale: clipFactor(norm, 0.5),
      beta1: 0.9,
      beta2: 0.95,
      weightDecay: 0.1,
    });
    torch[i]!.forEach((value, k) => {
      expect(parameter[k]).toBeCloseTo(value, 6);
    });
  });
});

/** Algorithm 2 of Loshchilov and Hutter (2019) as it stands there, for one number. */
function literal(
  start: number,
  gradients: readonly number[],
  [rate, beta1, beta2, decay]: readonly [number, number, number, number],
): number {
  let [theta, m, v] = [start, 0, 0];
  gradients.forEach((g, i) => {
    m = beta1 * m + (1 - beta1) * g;
    v = beta2 * v + (1 - beta2) * g ** 2;
    const mHat = m / (1 - beta1 ** (i + 1));
    const vHat = v / (1 - beta2 ** (i + 1));
    theta = theta - rate * (mHat / (Math.sqrt(vHat) + 1e-8) + decay * theta);
  });
  return theta;
}

test("updates follow the paper's algorithm", () => {
  const number = (min: number, max: number) => fc.double({ min, max, noNaN: true });
  fc.assert(
    fc.property(
      number(-2, 2),
      fc.array(number(-3, 3), { minLength: 1, maxLength: 12 }),
      fc.tuple(number(1e-4, 1e-1), number(0, 0.99), number(0.5, 0.999), number(0, 0.5)),
      (start, gradients, settings) => {
        const [learningRate, beta1, beta2, weightDecay] = settings;
        const parameter = Float32Array.of(start);
        const moments = emptyMoments(1);
        gradients.forEach((g, i) => {
          // the scale stands for 1 / tokens and clipping
          const options = {
            moments,
            learningRate,
            step: i + 1,
            gradientScale: 0.5,
            beta1,
            beta2,
            weightDecay,
          };
          adamW(parameter, Float32Array.of(2 * g), options);
        });
        // float32 moments make very small gradients differ
        expect(
          Math.abs(
            parameter[0]! -
              literal(
                start,
                gradients.map((g) => Math.fround(2 * g) / 2),
                settings,
              ),
          ),
        ).toBeLessThan(1e-4);
      },
    ),
    { numRuns: 200 },
  );
});

test("a norm below the limit is not changed, one above is brought to it", () => {
  expect(clipFactor(0.5, 1)).toBe(1);
  expect(clipFactor(0, 1)).toBe(1);
  expect(4 * clipFactor(4, 1)).toBeCloseTo(1, 5);
});

test("the global norm is that of all tensors together", () => {
  expect(globalNorm([Float32Array.of(3, 0), Float32Array.of(4)])).toBe(5);
  expect(globalNorm([])).toBe(0);
});

// what transformers' get_scheduler gives at each step before it is made
const expected: readonly (readonly [ScheduleName, number, number, readonly number[]])[] = [
  [
    "linear",
    10,
    3,
    [
      0, 0.333333333333, 0.666666666667, 1, 0.857142857143, 0.714285714286, 0.571428571429, 0.428571428571,
      0.285714285714, 0.142857142857,
    ],
  ],
  [
    "cosine",
    10,
    3,
    [
      0, 0.333333333333, 0.666666666667, 1, 0.950484433951, 0.811744900929, 0.611260466978, 0.388739533022,
      0.188255099071, 0.049515566049,
    ],
  ],
  ["constant", 4, 2, [0, 0.5, 1, 1]],
  ["linear", 5, 0, [1, 0.8, 0.6, 0.4, 0.2]],
  ["linear", 4, 4, [0, 0.25, 0.5, 0.75]],
  ["cosine", 4, 4, [0, 0.25, 0.5, 0.75]],
  ["linear", 1, 0, [1]],
];

test.each(expected)(
  "%s over %i steps with a warm-up of %i is transformers' schedule",
  (name, steps, warmup, factors) => {
    factors.forEach((factor, step) => {
      expect(learningRateFactor(step, { name, steps, warmup })).toBeCloseTo(factor, 10);
    });
  },
);

test("after the last step the decaying schedules are at 0", () => {
  expect(learningRateFactor(10, { name: "linear", steps: 10, warmup: 3 })).toBe(0);
  expect(learningRateFactor(10, { name: "cosine", steps: 10, warmup: 3 })).toBeCloseTo(0, 15);
});

test.each([-1, 6])("a warm-up of %i does not fit into 5 steps", (warmup) => {
  expect(() => learningRateFactor(0, { name: "linear", steps: 5, warmup })).toThrowError(
    expect.objectContaining({
      code: "bad_option",
      message: `warm-up of ${warmup} steps does not fit into 5 steps`,
    }),
  );
});
