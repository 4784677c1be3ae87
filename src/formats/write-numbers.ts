import type { AtomicFile } from "#storage";
import { encodeBfloat16, encodeFloat16 } from "./float16.ts";

/** How float32 numbers can be stored, as safetensors and GGUF name it. */
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

/** Appends numbers to a file, little-endian; F16 and BF16 are rounded from float32. */
export async function writeNumbers(
  file: Pick<AtomicFile, "write">,
  data: Float32Array | Int32Array,
  dtype: FloatDtype | "I32",
): Promise<void> {
  for (let begin = 0; begin < data.length; begin += CHUNK)
    await file.write(encode(data.subarray(begin, begin + CHUNK), dtype));
}
