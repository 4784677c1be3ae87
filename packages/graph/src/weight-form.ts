// Storage formats of base weights, and the tensors that each consists of.
import { countElements, DTYPE_BYTES, type DType } from "./tensor-type.ts";

/** One number for each weight: what files call F32, F16 and BF16. */
export interface PlainFormat {
  readonly kind: "float32" | "float16" | "bfloat16";
  /** Its rows stay in a file, where the runtime reads those that a step needs. */
  readonly inFile?: true;
}

/**
 * Whole numbers with a scale, and perhaps an offset, for each block of a row:
 * weight = scale · (code − zeroPoint) + offset. GGUF's block types have this format, and so do int8 and int4.
 */
export interface BlockFormat {
  readonly kind: "blocks";
  /** 8: signed codes, one in a byte. 4: codes from 0 to 15; row r has the low half of a byte, row r + ⌈out / 2⌉ the high. */
  readonly bits: 4 | 8;
  /** Weights of a row that share a scale; it divides the width of the row. */
  readonly blockSize: number;
  /** 0 or 8 with 4 bits, 0 with 8. */
  readonly zeroPoint: 0 | 8;
  /** Type of scales and offsets. */
  readonly scales: "float32" | "float16";
  readonly offsets: boolean;
}

/** 16 levels of a normal distribution, times the largest magnitude of a block (QLoRA, appendix E). */
export interface Nf4Format {
  readonly kind: "nf4";
  /** 64, or less where that does not divide the width of a row. */
  readonly blockSize: number;
}

/** The largest code of `Int8RowsFormat`. */
export const MAX_ROW_CODE = 63;

/**
 * Signed bytes with one scale for each row, which products in int8 read. Codes go to ±63 only: processors without VNNI add
 * two products of a code and an unsigned byte in 16 bits. They are codes of the transformed rows W Q
 * (`hadamardRows`), by which those of the activations are multiplied: W Q ≈ scale · code.
 */
export interface Int8RowsFormat {
  readonly kind: "int8rows";
  /** True if the transpose of the codes is stored too: faster forward products, for another byte per weight. */
  readonly transposed: boolean;
}

/** Storage format of a matrix [out, in]; vectors are always float32. */
export type WeightFormat = PlainFormat | BlockFormat | Nf4Format | Int8RowsFormat;

/** The tensors of a stored weight. A plain one has `data` alone. */
export type WeightPart = "data" | "codes" | "transposed" | "scales" | "offsets";

/** The tensors in which a weight [out, in] of this format is stored. */
export function weightParts(
  format: WeightFormat,
  shape: readonly number[],
): readonly { readonly part: WeightPart; readonly shape: readonly number[]; readonly dtype: DType }[] {
  const [out = 0, width = 0] = shape;
  switch (format.kind) {
    case "float32":
    case "float16":
      return [{ part: "data", shape, dtype: format.kind }];
    case "bfloat16":
      return [{ part: "data", shape, dtype: "uint16" }];
    case "blocks": {
      const blocks = { shape: [out, width / format.blockSize], dtype: format.scales };
      return [
        format.bits === 4
          ? { part: "codes", shape: [Math.ceil(out / 2), width], dtype: "uint8" }
          : { part: "codes", shape, dtype: "int8" },
        { part: "scales", ...blocks },
        ...(format.offsets ? [{ part: "offsets", ...blocks } as const] : []),
      ];
    }
    case "nf4":
      // two codes in a byte, the first in the high half, as MatMulBnb4 reads them
      return [
        { part: "codes", shape: [out, width / 2], dtype: "uint8" },
        { part: "scales", shape: [out, width / format.blockSize], dtype: "float32" },
      ];
    case "int8rows":
      return [
        { part: "codes", shape, dtype: "int8" },
        ...(format.transposed ? [{ part: "transposed", shape: [width, out], dtype: "int8" } as const] : []),
        { part: "scales", shape: [out], dtype: "float32" },
      ];
  }
}

/** Tests whether a weight of this format stays in its file. */
export const isInFile = (format: WeightFormat): boolean => "inFile" in format;

/** Bytes of a weight of this format in memory. */
export const weightBytes = (format: WeightFormat, shape: readonly number[]): number =>
  isInFile(format)
    ? 0
    : weightParts(format, shape).reduce(
        (sum, part) => sum + countElements(part.shape) * DTYPE_BYTES[part.dtype],
        0,
      );
