// Half floats as bits. JavaScript computes in float64, which holds every float16 and bfloat16 exactly, so only the
// roundings of the encoders need thought.
import type { AtomicFile } from "./atomic-files.ts";

/** float16 bits → float32, exactly. `target` may be longer than `source`; without one, a new array is made. */
export function decodeFloat16(
  source: Uint16Array,
  target: Float32Array = new Float32Array(source.length),
): Float32Array {
  const bits = new Uint32Array(target.buffer, target.byteOffset, target.length);
  const rescale = 2 ** 112; // float32 and float16 exponents differ by 112; a product also renormalises subnormals
  for (let i = 0; i < source.length; i++) {
    const half = source[i] ?? 0;
    const shifted = ((half & 0x8000) << 16) | ((half & 0x7fff) << 13);
    if ((half & 0x7c00) === 0x7c00) {
      bits[i] = shifted | 0x7f800000;
    } else {
      bits[i] = shifted;
      target[i] = (target[i] ?? 0) * rescale;
    }
  }
  return target;
}

/** float32 → float16 bits, rounded to the nearest, ties to even; too large becomes infinite. */
export function encodeFloat16(source: Float32Array): Uint16Array {
  const target = new Uint16Array(source.length);
  const bits = new Uint32Array(source.buffer, source.byteOffset, source.length);
  for (let i = 0; i < source.length; i++) {
    const word = bits[i] ?? 0;
    const sign = (word >>> 16) & 0x8000;
    const magnitude = word & 0x7fffffff;
    let half: number;
    if (magnitude > 0x7f800000)
      half = 0x7e00 | ((magnitude >>> 13) & 0x3ff); // NaN stays NaN
    else if (magnitude >= 0x47800000)
      half = 0x7c00; // 65536 and more
    // Below the normals, in units of 2⁻²⁴: adding 2⁵² lets float64 round to a whole number, ties to even.
    else if (magnitude < 0x38800000) half = Math.abs(source[i] ?? 0) * 2 ** 24 + 2 ** 52 - 2 ** 52;
    else half = (magnitude + 0xfff + ((magnitude >>> 13) & 1) - (112 << 23)) >>> 13;
    target[i] = sign | half;
  }
  return target;
}

/** bfloat16 bits → float32, exactly: the upper half of a float32. */
export function decodeBfloat16(
  source: Uint16Array,
  target: Float32Array = new Float32Array(source.length),
): Float32Array {
  const bits = new Uint32Array(target.buffer, target.byteOffset, target.length);
  for (let i = 0; i < source.length; i++) bits[i] = (source[i] ?? 0) << 16;
  return target;
}

/** float32 → bfloat16 bits, rounded to the nearest, ties to even. */
export function encodeBfloat16(source: Float32Array): Uint16Array {
  const target = new Uint16Array(source.length);
  const bits = new Uint32Array(source.buffer, source.byteOffset, source.length);
  for (let i = 0; i < source.length; i++) {
    const word = bits[i] ?? 0;
    const undefinedNumber = (word & 0x7fffffff) > 0x7f800000;
    target[i] = undefinedNumber ? (word >>> 16) | 0x40 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
  return target;
}

/** Storage types of float32 values, as safetensors and GGUF name them. */
export type FloatDtype = "F32" | "F16" | "BF16";

/** Numbers converted and written at a time. */
const CHUNK = 1 << 20;

function encode(part: Float32Array | Int32Array, dtype: FloatDtype | "I32"): Uint8Array {
  const stored =
    part instanceof Int32Array || dtype === "F32" || dtype === "I32"
      ? part
      : dtype === "F16"
        ? encodeFloat16(part)
        : encodeBfloat16(part);
  return new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength);
}

/** Appends values to a file, little-endian; F16 and BF16 are rounded from float32. */
export async function writeNumbers(
  file: Pick<AtomicFile, "write">,
  data: Float32Array | Int32Array,
  dtype: FloatDtype | "I32",
): Promise<void> {
  for (let begin = 0; begin < data.length; begin += CHUNK)
    await file.write(encode(data.subarray(begin, begin + CHUNK), dtype));
}
