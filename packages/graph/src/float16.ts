/** Powers of two that scale an 11-bit significand by its biased exponent: 2^(e − 25). */
const SCALES = Float64Array.from({ length: 32 }, (_, exponent) => 2 ** (exponent - 25));

/** The value of one float16, given its 16 bits. */
export function float16Value(bits: number): number {
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  let magnitude: number;
  if (exponent === 0) magnitude = fraction * 2 ** -24;
  else if (exponent === 31) magnitude = fraction === 0 ? Number.POSITIVE_INFINITY : Number.NaN;
  else magnitude = (1024 + fraction) * (SCALES[exponent] ?? 0);
  return bits & 0x8000 ? -magnitude : magnitude;
}
