import { countElements, MosError, type Shape } from "#core";
import { type DType, showShape, type TensorData } from "../value.ts";
import { Tensor } from "./onnxruntime.ts";

/** A tensor in the memory of this process, row-major. Whole numbers are Int32Array, whatever the program's own type. */
export interface HostTensor {
  readonly shape: readonly number[];
  readonly data: TensorData;
}

/** Types that a leaf of a program accepts. */
export interface LeafType {
  readonly shape: Shape;
  readonly dtype: DType;
}

const NATURAL: Readonly<Partial<Record<DType, (data: TensorData) => boolean>>> = {
  float32: (data) => data instanceof Float32Array,
  int32: (data) => data instanceof Int32Array,
  int64: (data) => data instanceof Int32Array,
  uint8: (data) => data instanceof Uint8Array,
  int8: (data) => data instanceof Int8Array,
  uint16: (data) => data instanceof Uint16Array,
  float16: (data) => data instanceof Uint16Array,
};

function check(name: string, { shape, data }: HostTensor, leaf: LeafType): void {
  const fits =
    shape.length === leaf.shape.length &&
    shape.every((dim, i) => typeof leaf.shape[i] === "string" || leaf.shape[i] === dim);
  if (!fits)
    throw new MosError(
      "bad_config",
      `input ${name} has shape ${showShape(shape)}, the program takes ${showShape(leaf.shape)}`,
    );
  if (countElements(shape) !== data.length)
    throw new MosError("bad_config", `input ${name}: ${data.length} numbers do not fill ${showShape(shape)}`);
  if (NATURAL[leaf.dtype]?.(data) !== true)
    throw new MosError("bad_config", `input ${name}: ${data.constructor.name} is not ${leaf.dtype}`);
}

/**
 * Halves by their bits. Where JavaScript has a Float16Array, the constructor makes one of them, whose bytes the runtime's
 * binding does not find: it reads a Uint16Array alone.
 */
const halves = (bits: Uint16Array, shape: readonly number[]): Tensor =>
  Object.assign(new Tensor("uint16", bits, shape), { type: "float16" });

/** A host tensor as the runtime's. Its memory is shared, except that int64 is a copy. */
export function toRuntime(name: string, tensor: HostTensor, leaf: LeafType): Tensor {
  check(name, tensor, leaf);
  const { data, shape } = tensor;
  if (leaf.dtype === "int64")
    return new Tensor("int64", BigInt64Array.from(data as Int32Array, BigInt), shape);
  if (data instanceof Float32Array) return new Tensor("float32", data, shape);
  if (data instanceof Int8Array) return new Tensor("int8", data, shape);
  if (data instanceof Uint16Array)
    return leaf.dtype === "float16" ? halves(data, shape) : new Tensor("uint16", data, shape);
  return data instanceof Int32Array ? new Tensor("int32", data, shape) : new Tensor("uint8", data, shape);
}

/** A result of the runtime as a host tensor. */
export function fromRuntime(tensor: Tensor): HostTensor {
  const { data, dims: shape } = tensor;
  if (data instanceof BigInt64Array) return { shape, data: Int32Array.from(data, Number) };
  if (data instanceof Float32Array || data instanceof Int32Array || data instanceof Uint8Array)
    return { shape, data };
  if (tensor.type === "float16") {
    const { buffer, byteOffset, length } = data as Uint16Array; // or a Float16Array
    return { shape, data: new Uint16Array(buffer, byteOffset, length) };
  }
  if (data instanceof Uint16Array) return { shape, data };
  throw new MosError("unsupported", `a program returned ${tensor.type}, which has no host form`);
}
