import fc from "fast-check";
import { expect, test } from "vitest";
import { encodeBfloat16, encodeFloat16 } from "#files";
import { checkRange, type StoredDtype } from "./file-dtype.ts";

const EXPONENTS = { F16: 0x7c00, BF16: 0x7f80 } as const;

test.each([
  ["F16", encodeFloat16, 65520],
  ["BF16", encodeBfloat16, 2 ** 128 - 2 ** 119],
] as const)("%s: refused is what rounds to infinity, and nothing else", (dtype, encode, end) => {
  const near = fc.integer({ min: -64, max: 64 }).map((steps) => end * (1 + steps * 2 ** -23));
  fc.assert(
    fc.property(fc.oneof(near, fc.float({ noNaN: true })), fc.boolean(), (size, negative) => {
      const data = Float32Array.of(1, negative ? -size : size);
      const isLost = encode(data).some((bits) => (bits & EXPONENTS[dtype]) === EXPONENTS[dtype]);
      const check = () => checkRange(data, { name: "w", dtype });
      if (isLost) expect(check).toThrowError(`dtype: w holds ${data[1]}, and `);
      else expect(check).not.toThrow();
    }),
    {
      examples: [
        [end, false],
        [end, true],
      ],
    },
  );
});

test.each<[StoredDtype, number, string]>([
  ["F16", 7e4, "w holds 70000, and the float16 maximum is 65504; store the weights as bfloat16 or float32"],
  ["BF16", 3.4e38, "and the bfloat16 maximum is 3.39e38; store the weights as float32"],
  [
    "F32",
    Number.POSITIVE_INFINITY,
    "w holds Infinity, and the float32 maximum is 3.4e38; the adapter or its base",
  ],
  ["F32", Number.NaN, "w holds NaN"],
])("%s: %d", (dtype, value, message) => {
  expect(() => checkRange(Float32Array.of(value), { name: "w", dtype })).toThrowError(
    expect.objectContaining({ code: "bad_option", message: expect.stringContaining(message) }),
  );
});
