import fc from "fast-check";
import { float16Value } from "mixture-of-shards-graph/common";
import { expect, test } from "vitest";
import { runs } from "../../../../test/runs.ts";
import { decodeBfloat16, decodeFloat16, encodeBfloat16, encodeFloat16 } from "./floats.ts";

const everyHalf = Uint16Array.from({ length: 65536 }, (_, i) => i);
const notNaN = (bits: number, exponent: number, fraction: number) =>
  (bits & exponent) !== exponent || (bits & fraction) === 0;

/** The definition, by search: the nearest of all float16 values, ties to the even code. */
function nearestHalf(x: number): number {
  const sign = Object.is(x, -0) || x < 0 ? 0x8000 : 0;
  const size = Math.abs(x);
  if (size >= 65520) return sign | 0x7c00;
  let low = 0;
  let high = 0x7bff;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (float16Value(middle) <= size) low = middle;
    else high = middle - 1;
  }
  const above = low + 1 === 0x7c00 ? 65536 : float16Value(low + 1);
  const [down, up] = [size - float16Value(low), above - size];
  return sign | (down < up || (down === up && low % 2 === 0) ? low : low + 1);
}

test("known float16 values", () => {
  const codes = Uint16Array.of(0x3c00, 0xc000, 0x7bff, 0x0400, 0x0001, 0x8000, 0x7c00, 0xfc00, 0x3555);
  const values = [1, -2, 65504, 2 ** -14, 2 ** -24, -0, Infinity, -Infinity, 0.333251953125];
  expect([...decodeFloat16(codes)]).toEqual(values);
  expect([...codes].map(float16Value)).toEqual(values);
});

test("every float16 survives decoding and encoding", () => {
  const back = encodeFloat16(decodeFloat16(everyHalf));
  const isNumber = (bits: number) => notNaN(bits, 0x7c00, 0x3ff);
  // one assertion: one for each would take longer than all else
  const lost = everyHalf.filter((bits) => (isNumber(bits) ? back[bits] !== bits : isNumber(back[bits]!)));
  expect([...lost]).toEqual([]);
});

test("every bfloat16 survives decoding and encoding", () => {
  const back = encodeBfloat16(decodeBfloat16(everyHalf));
  const lost = everyHalf.filter((bits) => notNaN(bits, 0x7f80, 0x7f) && back[bits] !== bits);
  expect([...lost]).toEqual([]);
  expect([...encodeBfloat16(Float32Array.of(NaN))].every((bits) => (bits & 0x7fff) > 0x7f80)).toBe(true);
});

test("float16 rounds to the nearest, ties to even, over the whole range", () => {
  const near = fc
    .tuple(fc.integer({ min: 0, max: 0x7bff }), fc.constantFrom(0, 0.25, 0.5, 0.75))
    .map(([h, t]) => {
      const value = float16Value(h);
      const above = h === 0x7bff ? 65536 : float16Value(h + 1);
      return Math.fround(value + t * (above - value));
    });
  fc.assert(
    fc.property(fc.oneof(fc.float({ noNaN: true }), near), fc.boolean(), (x, negative) => {
      const value = negative ? -x : x;
      expect(encodeFloat16(Float32Array.of(value))[0]).toBe(nearestHalf(value));
    }),
    { numRuns: runs(3000) },
  );
});

test("bfloat16 rounds to the nearest, ties to even", () => {
  expect([
    ...encodeBfloat16(new Float32Array(new Uint32Array([0x3f808000, 0x3f818000, 0x3f808001]).buffer)),
  ]).toEqual([0x3f80, 0x3f82, 0x3f81]);
  fc.assert(
    fc.property(fc.float({ noNaN: true, noDefaultInfinity: true }), (x) => {
      const rounded = decodeBfloat16(encodeBfloat16(Float32Array.of(x)))[0]!;
      if (Number.isFinite(rounded))
        expect(Math.abs(rounded - x)).toBeLessThanOrEqual(Math.abs(x) * 2 ** -8 + 2 ** -134);
    }),
  );
});

test("decoding into a part of a larger array leaves the rest alone", () => {
  const target = new Float32Array(4).fill(7);
  decodeFloat16(Uint16Array.of(0x3c00, 0x4000), target.subarray(1, 3));
  expect([...target]).toEqual([7, 1, 2, 7]);
});
