// An interpreter of graphs in TypeScript, for work so small that compiling a program for ONNX Runtime would dominate. It
// has the ops that adapters' factors are made of, on float32. But for MatMul, all round as the runtime does.

import { MosError } from "./error.ts";
import { countElements, type Shape } from "./tensor-type.ts";
import { type HostTensor, type Node, showShape, sortNodes, type TensorData, type Value } from "./value.ts";

/** The outputs of a node, computed from its inputs. */
type HostOp = (inputs: readonly HostTensor[], node: Node) => readonly TensorData[];

const knownShape = (shape: Shape): readonly number[] => shape.map((dim) => countElements([dim]));
const unsupported = (what: string): MosError =>
  new MosError("unsupported", `${what} cannot be computed on the host; compile a program for it`);

function operand(inputs: readonly HostTensor[], index: number, op: string): HostTensor {
  const found = inputs[index];
  if (found === undefined) throw unsupported(`${op} without its operand ${index}`);
  return found;
}

function requireFloats({ data }: HostTensor, op: string): Float32Array {
  if (data instanceof Float32Array) return data;
  throw unsupported(`${op} of whole numbers`);
}

const wholeNumber = (inputs: readonly HostTensor[], index: number): number =>
  operand(inputs, index, "Slice").data[0] ?? 0;

const readAxis = ({ attributes }: Node): number =>
  typeof attributes["axis"] === "number" ? attributes["axis"] : 0;

/** An axis in memory: `outer` blocks, each `size` steps of `inner` numbers. */
function splitAxis(
  shape: readonly number[],
  axis: number,
): { readonly outer: number; readonly size: number; readonly inner: number } {
  return {
    outer: countElements(shape.slice(0, axis)),
    size: shape[axis] ?? 1,
    inner: countElements(shape.slice(axis + 1)),
  };
}

/** `length` steps of an axis beginning at `from`: a view where they are contiguous, a copy elsewhere. */
function sliceAxis(
  x: HostTensor,
  op: string,
  { axis, from, length }: { readonly axis: number; readonly from: number; readonly length: number },
): Float32Array {
  const data = requireFloats(x, op);
  const { outer, size, inner } = splitAxis(x.shape, axis);
  const width = length * inner;
  if (outer === 1) return data.subarray(from * inner, from * inner + width);
  const result = new Float32Array(outer * width);
  for (let block = 0; block < outer; block++) {
    const begin = (block * size + from) * inner;
    result.set(data.subarray(begin, begin + width), block * width);
  }
  return result;
}

function gather(inputs: readonly HostTensor[], node: Node): readonly TensorData[] {
  const table = operand(inputs, 0, "Gather");
  const { data: indices } = operand(inputs, 1, "Gather");
  if (readAxis(node) !== 0) throw unsupported("Gather along an axis other than the first");
  const data = requireFloats(table, "Gather");
  const { inner: width } = splitAxis(table.shape, 0);
  const result = new Float32Array(indices.length * width);
  if (width === 1) return [result.map((_, i) => data[indices[i] ?? 0] ?? 0)];
  for (let i = 0; i < indices.length; i++) {
    const begin = (indices[i] ?? 0) * width;
    result.set(data.subarray(begin, begin + width), i * width);
  }
  return [result];
}

function split(inputs: readonly HostTensor[], node: Node): readonly TensorData[] {
  const x = operand(inputs, 0, "Split");
  const axis = readAxis(node);
  let from = 0;
  return node.outputs.map(({ shape }) => {
    const length = countElements([shape[axis] ?? 1]);
    from += length;
    return sliceAxis(x, "Split", { axis, from: from - length, length });
  });
}

function slice(inputs: readonly HostTensor[]): readonly TensorData[] {
  if (operand(inputs, 1, "Slice").data.length !== 1) throw unsupported("Slice of several axes");
  const [from, to, axis] = [wholeNumber(inputs, 1), wholeNumber(inputs, 2), wholeNumber(inputs, 3)];
  return [sliceAxis(operand(inputs, 0, "Slice"), "Slice", { axis, from, length: to - from })];
}

function concat(inputs: readonly HostTensor[], node: Node): readonly TensorData[] {
  const axis = readAxis(node);
  const parts = inputs.map((input) => {
    const { outer, size, inner } = splitAxis(input.shape, axis);
    return { data: requireFloats(input, "Concat"), outer, width: size * inner };
  });
  const stride = parts.reduce((sum, { width }) => sum + width, 0);
  const outer = parts[0]?.outer ?? 0;
  const result = new Float32Array(outer * stride);
  let offset = 0;
  for (const { data, width } of parts) {
    for (let block = 0; block < outer; block++)
      result.set(data.subarray(block * width, (block + 1) * width), block * stride + offset);
    offset += width;
  }
  return [result];
}

function transpose(inputs: readonly HostTensor[], { attributes }: Node): readonly TensorData[] {
  const x = operand(inputs, 0, "Transpose");
  const order = attributes["perm"];
  if (x.shape.length !== 2 || !Array.isArray(order) || order.join() !== "1,0")
    throw unsupported("Transpose of anything but a matrix");
  const data = requireFloats(x, "Transpose");
  const [rows = 0, columns = 0] = x.shape;
  const result = new Float32Array(data.length);
  for (let column = 0; column < columns; column++)
    for (let row = 0; row < rows; row++) result[column * rows + row] = data[row * columns + column] ?? 0;
  return [result];
}

/** Strides of an operand taken as a matrix: 0 along an axis that is broadcast. */
function matrixStrides(x: HostTensor): {
  readonly data: Float32Array;
  readonly row: number;
  readonly column: number;
} {
  const [rows = 1, columns = 1] = x.shape.length === 2 ? x.shape : [1, ...x.shape];
  return { data: requireFloats(x, "Mul"), row: rows === 1 ? 0 : columns, column: columns === 1 ? 0 : 1 };
}

function mul(inputs: readonly HostTensor[], node: Node): readonly TensorData[] {
  const shape = knownShape(node.outputs[0]?.shape ?? []);
  if (shape.length > 2) throw unsupported(`Mul of shape ${showShape(shape)}`);
  const [rows = 1, columns = 1] = shape.length === 2 ? shape : [1, ...shape];
  const [a, b] = [matrixStrides(operand(inputs, 0, "Mul")), matrixStrides(operand(inputs, 1, "Mul"))];
  const result = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++)
      // exact in float64, so that storing the product rounds only once
      result[row * columns + column] =
        (a.data[row * a.row + column * a.column] ?? 0) * (b.data[row * b.row + column * b.column] ?? 0);
  return [result];
}

/** Products are summed in float64 and rounded once, so that they may differ from the runtime's by rounding. */
function matmul(inputs: readonly HostTensor[]): readonly TensorData[] {
  const [a, b] = [operand(inputs, 0, "MatMul"), operand(inputs, 1, "MatMul")];
  const [rows = 0, inner = 0] = a.shape;
  const columns = b.shape[1] ?? 0;
  if (a.shape.length !== 2 || b.shape.length !== 2) throw unsupported("MatMul of anything but matrices");
  const [left, right] = [requireFloats(a, "MatMul"), requireFloats(b, "MatMul")];
  const result = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    const sums = new Float64Array(columns);
    for (let k = 0; k < inner; k++) {
      const scale = left[row * inner + k] ?? 0;
      for (let j = 0; j < columns; j++) sums[j] = (sums[j] ?? 0) + scale * (right[k * columns + j] ?? 0);
    }
    result.set(sums, row * columns);
  }
  return [result];
}

const OPS: ReadonlyMap<string, HostOp> = new Map<string, HostOp>([
  ["Gather", gather],
  ["Reshape", (inputs) => [operand(inputs, 0, "Reshape").data]],
  ["Split", split],
  ["Slice", slice],
  ["Concat", concat],
  ["Transpose", transpose],
  ["Mul", mul],
  ["MatMul", matmul],
]);

/**
 * Computes `outputs` on this thread, without compiling a program. `feeds` are the leaves by name; all dimensions must be
 * numbers. An output may share its memory with a feed, a constant or another output.
 *
 * @throws MosError `unsupported` for an op, or a variant of one, that the interpreter lacks; `bad_config` for a missing feed.
 * @example
 * evaluateOnHost({ y: mul(leaf("x", [2]), scalar(3)) }, new Map([["x", { shape: [2], data: Float32Array.of(1, 2) }]]));
 */
export function evaluateOnHost(
  outputs: Readonly<Record<string, Value>>,
  feeds: ReadonlyMap<string, HostTensor>,
): ReadonlyMap<string, HostTensor> {
  const results = new Map<Node, readonly HostTensor[]>();
  const evaluate = ({ source, shape }: Value): HostTensor => {
    if (source.kind === "constant") return { shape: knownShape(shape), data: source.data };
    if (source.kind === "file") throw unsupported("a constant in a file");
    const found = source.kind === "leaf" ? feeds.get(source.name) : results.get(source.node)?.[source.index];
    if (found !== undefined && found.shape.join() === shape.join()) return found;
    const name = source.kind === "leaf" ? `leaf ${source.name}` : source.node.op;
    throw new MosError(
      "bad_config",
      `${name} of shape ${showShape(shape)} is fed ${found === undefined ? "nothing" : showShape(found.shape)}`,
    );
  };
  // an op that appears several times with the same inputs is computed once
  const known = new Map<string, readonly HostTensor[]>();
  const identities = new Map<TensorData, number>();
  const identify = ({ data, shape }: HostTensor): readonly number[] => {
    const identity = identities.get(data) ?? identities.size;
    identities.set(data, identity);
    return [identity, ...shape];
  };
  const named = Object.entries(outputs);
  for (const node of sortNodes(named.map(([, value]) => value))) {
    const run = node.domain === "" ? OPS.get(node.op) : undefined;
    if (run === undefined) throw unsupported(`the op ${node.op}`);
    const inputs = node.inputs.flatMap((input) => (input === undefined ? [] : [evaluate(input)]));
    const key = `${node.op} ${JSON.stringify([node.attributes, node.outputs, inputs.map(identify)])}`;
    const found =
      known.get(key) ??
      run(inputs, node).map((data, i) => ({ shape: knownShape(node.outputs[i]?.shape ?? []), data }));
    known.set(key, found);
    results.set(node, found);
  }
  return new Map(named.map(([name, value]) => [name, evaluate(value)]));
}
