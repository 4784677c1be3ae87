// A weight as it is stored → the arrays of a matrix that the runtime packs. Loops over typed arrays: a model has 10⁹ weights.
import { MosError } from "#core";
import type { BlockForm, Nf4Form } from "#files";
import type { TensorData } from "#graph";
import { type ComputeDtype, dequantizeWeight, type Weight } from "#models";
import { fillHalves, fillNibbles, fillSigned, scalesOfHalves, zeroPointsOfHalves } from "./pack-codes.ts";
import { toInt8 } from "./pack-int8.ts";
import { offsetColumns } from "./pack-offsets.ts";
import type { BlockArrays, Blocks, MatrixArrays, Nf4Arrays } from "./packed-arrays.ts";

/** Whether weights can be rows of one matrix. */
export const canJoin = (weights: readonly Weight[]): boolean =>
  new Set(weights.map(({ form, shape }) => `${JSON.stringify(form)} ${shape[1]}`)).size === 1;

/**
 * Weights of one form and width under each other. `computeDtype` is the precision of the product: in float32 the numbers are
 * those of the weights; in int8 offsets are rounded to a few bits, and plain numbers, NF4 and small blocks to 8 bits.
 *
 * @throws MosError "unsupported" for plain numbers that are to be multiplied in float32: those need no packing.
 */
export function packMatrix(weights: readonly Weight[], computeDtype: ComputeDtype): MatrixArrays {
  const [first] = weights;
  if (first === undefined) throw new MosError("bad_config", "there is no weight to pack");
  const { form } = first;
  if (computeDtype === "int8") {
    if (form.kind === "blocks" && form.bits === 4) return packForInt8(joined(weights, form), weights);
    const eight = weights.map(toInt8);
    return packForInt8(joined(eight, (eight[0] as (typeof eight)[0]).form), eight);
  }
  if (form.kind === "nf4") return packNf4(weights, form);
  if (form.kind === "blocks") return packForFloat32(joined(weights, form), weights);
  throw new MosError("unsupported", `a weight stored as ${form.kind} cannot be packed`);
}

/** Rows of weights under each other. */
export const rowsOf = (weights: readonly Weight[]): number =>
  weights.reduce((sum, { shape: [out = 0] }) => sum + out, 0);

function joined(weights: readonly Weight[], form: BlockForm): Blocks {
  const width = weights[0]?.shape[1] ?? 0;
  return {
    form,
    width,
    out: rowsOf(weights),
    blocks: width / form.blockSize,
    scales: joinedFloats(weights.map(({ parts }) => floats(parts.scales))),
    offsets: form.offsets ? joinedFloats(weights.map(({ parts }) => floats(parts.offsets))) : undefined,
  };
}

function floats(data: TensorData | undefined): Float32Array {
  if (data instanceof Float32Array) return data;
  if (!(data instanceof Uint16Array))
    throw new MosError("bad_config", "a weight lacks its scales or offsets");
  return dequantizeWeight({ shape: [data.length], form: { kind: "float16" }, parts: { data } });
}

function joinedFloats(parts: readonly Float32Array[]): Float32Array {
  const [only] = parts;
  if (parts.length === 1 && only !== undefined) return only;
  const all = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function packNf4(weights: readonly Weight[], { blockSize }: Nf4Form): Nf4Arrays {
  const [out, width] = [rowsOf(weights), weights[0]?.shape[1] ?? 0];
  const codes = new Uint8Array((out * width) / 2);
  let at = 0;
  for (const { parts } of weights) {
    codes.set(parts.codes as Uint8Array, at);
    at += parts.codes?.length ?? 0;
  }
  const scales = joinedFloats(weights.map(({ parts }) => floats(parts.scales)));
  return { kind: "nf4", blockSize, out, in: width, codes, scales };
}

const common = ({ form: { blockSize }, out, width }: Blocks) =>
  ({ kind: "blocks", blockSize, out, in: width }) as const;

/** Numbers of 4 bits with their offsets as further columns, or of 8 bits. */
function packForInt8(blocks: Blocks, weights: readonly Weight[]): BlockArrays {
  const { form, out, width, scales, offsets } = blocks;
  if (form.bits === 8) {
    const codes = new Uint8Array(out * width);
    fillSigned(weights, codes);
    return { ...common(blocks), bits: 8, columns: "x", codes, scales };
  }
  if (offsets !== undefined)
    return { ...common(blocks), bits: 4, ...offsetColumns(blocks, offsets, weights) };
  const codes = new Uint8Array((out * width) / 2);
  fillNibbles(weights, codes, width / 2);
  const zeroPoints =
    form.zeroPoint === 8
      ? undefined
      : new Uint8Array(out * Math.ceil(blocks.blocks / 2)).fill(form.zeroPoint * 17);
  return { ...common(blocks), bits: 4, columns: "x", codes, scales, zeroPoints };
}

/** Offsets are multiplied in float32; 8 bits are two numbers of 4, since those have a fast product in float32. */
function packForFloat32(blocks: Blocks, weights: readonly Weight[]): BlockArrays {
  const { form, out, width, scales, offsets } = blocks;
  if (form.bits === 8) {
    const codes = new Uint8Array(out * width);
    fillHalves(weights, codes);
    return {
      ...common(blocks),
      bits: 4,
      columns: "x twice",
      codes,
      scales: scalesOfHalves(blocks),
      zeroPoints: zeroPointsOfHalves(blocks),
      offsets: offsets && sumsOf(blocks, offsets, 0),
    };
  }
  const codes = new Uint8Array((out * width) / 2);
  fillNibbles(weights, codes, width / 2);
  // the runtime's own zero point is 8; another one is an offset
  const shift = 8 - form.zeroPoint;
  const rest =
    shift === 0 && offsets === undefined
      ? undefined
      : sumsOf(blocks, offsets ?? new Float32Array(scales.length), shift);
  return { ...common(blocks), bits: 4, columns: "x", codes, scales, offsets: rest };
}

/** What the means of x's blocks are multiplied by: (offset + shift · scale) · block size. */
const sumsOf = (
  { form: { blockSize }, scales }: Blocks,
  offsets: Float32Array,
  shift: number,
): Float32Array => offsets.map((offset, i) => (offset + shift * (scales[i] as number)) * blockSize);
