import { MosError } from "#common";
import type { WritableGgufTensor } from "#files";

/** Element types in files for other programs. */
export const FILE_DTYPES = ["float32", "float16", "bfloat16"] as const;
/** One of `FILE_DTYPES`. */
export type FileDtype = (typeof FILE_DTYPES)[number];

/** As safetensors and GGUF name them. */
export type StoredDtype = WritableGgufTensor["dtype"];
export const STORED = { float32: "F32", float16: "F16", bfloat16: "BF16" } as const satisfies Readonly<
  Record<FileDtype, StoredDtype>
>;

/** llama.cpp's numbers for a file that is mostly of one type. */
export const FILE_TYPES = { float32: 0, float16: 1, bfloat16: 32 } as const;

export const bytesPerNumber = (dtype: StoredDtype): number => (dtype === "F32" ? 4 : 2);

/** From `end` on a number rounds to infinity: the type's largest, and half of its last step. */
const RANGES = {
  F32: {
    end: Number.POSITIVE_INFINITY,
    advice: "the float32 maximum is 3.4e38; the adapter or its base is damaged",
  },
  F16: { end: 65520, advice: "the float16 maximum is 65504; store the weights as bfloat16 or float32" },
  BF16: {
    end: (2 - 2 ** -8) * 2 ** 127,
    advice: "the bfloat16 maximum is 3.39e38; store the weights as float32",
  },
} as const;

/** Throws `bad_option` for a number that would not be stored as one, by the tensor's name. */
export function checkRange(
  data: Float32Array,
  { name, dtype }: { readonly name: string; readonly dtype: StoredDtype },
): void {
  const { end, advice } = RANGES[dtype];
  for (const value of data)
    if (!(Math.abs(value) < end))
      throw new MosError("bad_option", `dtype: ${name} holds ${value}, and ${advice}`);
}
