import { MosError } from "./error.ts";
import { countElements, DTYPE_BYTES, type DType, type Shape, type TensorType } from "./tensor-type.ts";
import type { WeightFormat, WeightPart } from "./weight-form.ts";

export type { DType } from "./tensor-type.ts";

/**
 * Data of constants and feeds, in row-major order. Integers are Int32Array, for int64 inputs too; halves are their
 * 16 bits in a Uint16Array.
 */
export type TensorData = Float32Array | Int32Array | Uint8Array | Int8Array | Uint16Array;

export type Attribute = number | string | readonly number[] | { readonly float: number };

/** A tensor in the memory of this process, row-major. Whole numbers are Int32Array, whatever the program's own type. @inline */
export interface HostTensor {
  readonly shape: readonly number[];
  readonly data: TensorData;
}

/** One ONNX node. A plain number is an int attribute, `{ float }` a float one. */
export interface Node {
  readonly op: string;
  readonly domain: string;
  readonly inputs: readonly (Value | undefined)[];
  readonly attributes: Readonly<Record<string, Attribute>>;
  readonly outputs: readonly TensorType[];
}

/** Bytes of a file that are the content of a constant, in row-major order and little-endian. */
export interface FileRange {
  readonly folder: string;
  readonly file: string;
  readonly offset: number;
  readonly length: number;
}

export type Source =
  | { readonly kind: "leaf"; readonly name: string }
  | { readonly kind: "constant"; readonly data: TensorData }
  | { readonly kind: "file"; readonly range: FileRange }
  | { readonly kind: "output"; readonly node: Node; readonly index: number };

/**
 * Differentiation rule of one operation: the vector-Jacobian product `vjp` maps the gradients of its outputs,
 * undefined for an output that the result does not depend on, to the gradients of its inputs.
 */
export interface Rule {
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  readonly vjp: (gradients: readonly (Value | undefined)[]) => readonly (Value | undefined)[];
  /** Makes `grad` recompute what follows, up to the next checkpoint, rather than keep it. */
  readonly isCheckpoint?: boolean;
}

/** A tensor that does not exist yet: a leaf to be fed, a constant, or what a node will compute. */
export interface Value extends TensorType {
  readonly source: Source;
  readonly rule?: Rule;
  /** Rematerialises it for the backward pass, where that is cheaper than keeping it in memory. */
  readonly rematerialise?: (others: readonly Value[]) => Value;
  /** The tensors that a weight of the base is stored in, where it is not float32: products read these. */
  readonly stored?: StoredWeight;
}

/** A weight [out, in] as values: its format and its tensors. */
export interface StoredWeight {
  readonly format: WeightFormat;
  readonly shape: readonly number[];
  readonly parts: Readonly<Partial<Record<WeightPart, Value>>>;
}

/**
 * Substitute of a value in the backward pass: the value itself, or its rematerialisation, which all readers share.
 * With `others` it is the reader's own, and computed after them.
 */
export const rematerialised = (value: Value, others: readonly Value[] = []): Value =>
  value.rematerialise?.(others) ?? value;

/** The value, which the backward pass computes again with `compute` rather than keeping it in memory. */
export function withRematerialisation(value: Value, compute: (others: readonly Value[]) => Value): Value {
  let made: Value | undefined;
  const rematerialise = (others: readonly Value[]): Value => {
    if (others.length > 0) return compute(others);
    made ??= compute(others);
    return made;
  };
  return { ...value, rematerialise };
}

/**
 * An input of the program, which each run is fed by this name. Float32 unless `dtype` says otherwise.
 *
 * @example
 * const x = leaf("x", ["tokens", 64]); // the number of tokens may differ from run to run
 */
export const leaf = (name: string, shape: Shape, dtype: DType = "float32"): Value => ({
  shape,
  dtype,
  source: { kind: "leaf", name },
});

/**
 * A tensor whose content is part of the program: one axis of all numbers unless `shape` says otherwise, and of the type
 * of the array unless `dtype` does.
 *
 * @throws MosError `bad_config` where the number of elements does not match the shape.
 */
export function constant(data: TensorData, shape: Shape = [data.length], dtype?: DType): Value {
  if (countElements(shape) !== data.length)
    throw new MosError(
      "bad_config",
      `a constant of shape [${shape.join(", ")}] needs ${countElements(shape)} elements, not ${data.length}`,
    );
  const natural = data instanceof Float32Array ? "float32" : data instanceof Int32Array ? "int32" : "uint8";
  return { shape, dtype: dtype ?? natural, source: { kind: "constant", data } };
}

/**
 * A tensor whose content is part of the program and lies in a file already. Only the runtime reads it, when the program is
 * compiled: all such constants of a program must be in one folder.
 *
 * @throws MosError `bad_config` where the range has not as many bytes as the shape needs.
 */
export function fileConstant(range: FileRange, shape: Shape, dtype: DType): Value {
  const bytes = countElements(shape) * DTYPE_BYTES[dtype];
  if (bytes !== range.length)
    throw new MosError(
      "bad_config",
      `a ${dtype} constant of shape ${showShape(shape)} needs ${bytes} bytes, not ${range.length}`,
    );
  return { shape, dtype, source: { kind: "file", range } };
}

/** A float32 constant of shape []. */
export const scalar = (x: number): Value => constant(Float32Array.of(x), []);
/** A constant of whole numbers as int64, the type of ONNX operators' shape and axis arguments: [number of them]. */
export const int64s = (...xs: readonly number[]): Value =>
  constant(Int32Array.from(xs), [xs.length], "int64");

interface EmitOptions {
  readonly domain?: string;
  readonly attributes?: Readonly<Record<string, Attribute>>;
  readonly dtype?: DType;
}

/** com.microsoft operators are part of every ONNX Runtime build. */
export const MICROSOFT: EmitOptions = { domain: "com.microsoft" };

/** One node with several outputs and no gradient yet. */
export function emitAll(
  op: string,
  inputs: readonly (Value | undefined)[],
  options: EmitOptions & { readonly outputs: readonly Shape[] },
): readonly Value[] {
  const dtype = options.dtype ?? inputs.find((v) => v !== undefined)?.dtype ?? "float32";
  const node: Node = {
    op,
    domain: options.domain ?? "",
    inputs,
    attributes: options.attributes ?? {},
    outputs: options.outputs.map((shape) => ({ shape, dtype })),
  };
  return node.outputs.map(({ shape }, index) => ({ shape, dtype, source: { kind: "output", node, index } }));
}

/** One node with one output and no gradient yet. */
export function emit(
  op: string,
  inputs: readonly (Value | undefined)[],
  options: EmitOptions & { readonly shape: Shape },
): Value {
  const [value] = emitAll(op, inputs, { ...options, outputs: [options.shape] });
  return value as Value;
}

/** ONNX's type ids. */
export const TYPE_NUMBERS: Readonly<Record<DType, number>> = {
  float32: 1,
  uint8: 2,
  int8: 3,
  uint16: 4,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
  bfloat16: 16,
};

/** The elements of x in another type, or its bits taken for another type. There is no gradient. */
export const cast = (x: Value, dtype: DType, op: "Cast" | "BitCast" = "Cast"): Value =>
  x.dtype === dtype ? x : emit(op, [x], { shape: x.shape, dtype, attributes: { to: TYPE_NUMBERS[dtype] } });

/** Rows of a table by indices of any shape: [...indices, ...row]. There is no gradient. */
export const gather = (table: Value, indices: Value): Value =>
  emit("Gather", [table, indices], {
    shape: [...indices.shape, ...table.shape.slice(1)],
    attributes: { axis: 0 },
  });

/** The same tensors, with one gradient rule of their own for all. */
export function withGradients(
  values: readonly Value[],
  inputs: readonly Value[],
  given: Pick<Rule, "vjp" | "isCheckpoint">,
): readonly Value[] {
  const outputs: Value[] = [];
  const rule: Rule = { inputs, outputs, ...given };
  for (const value of values) outputs.push({ ...value, rule });
  return outputs;
}

/**
 * The same tensor, with a gradient rule of its own: gradients flow to `inputs` by `vjp`, whatever it was computed from.
 * `vjp` maps the gradient of the tensor (and the tensor y itself) to those of the inputs; undefined for none.
 */
export function withGradient(
  value: Value,
  inputs: readonly Value[],
  vjp: (dy: Value, y: Value) => readonly (Value | undefined)[],
): Value {
  const [y] = withGradients([value], inputs, {
    vjp: ([dy]) => (dy === undefined ? inputs.map(() => undefined) : vjp(dy, y as Value)),
  }) as [Value];
  return y;
}

/**
 * x itself, which is kept for the backward pass. What is computed between one checkpoint and the next is not: `grad` makes
 * nodes that compute it again, from the first of the two, once the gradient of the second is known.
 */
export const checkpoint = (x: Value): Value =>
  withGradients([x], [x], { vjp: (gradients) => gradients, isCheckpoint: true })[0] as Value;

/** `roots` and all that they depend on, each once and after its own inputs; without those in `seen`, which they are added to. */
export function sortByInputs<T>(
  roots: readonly T[],
  inputsOf: (one: T) => readonly T[],
  seen = new Set<T>(),
): T[] {
  const order: T[] = [];
  // without recursion, since graphs are thousands of nodes deep
  const stack: { readonly one: T; readonly inputs: Iterator<T> }[] = [];
  const enter = (one: T): void => {
    if (seen.has(one)) return;
    seen.add(one);
    stack.push({ one, inputs: inputsOf(one).values() });
  };
  for (const root of roots) {
    enter(root);
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const input = top.inputs.next();
      if (input.done !== true) enter(input.value);
      else {
        order.push(top.one);
        stack.pop();
      }
    }
  }
  return order;
}

const nodesOf = (values: readonly (Value | undefined)[]): readonly Node[] =>
  values.flatMap((value) => (value?.source.kind === "output" ? [value.source.node] : []));

/** The nodes that compute these values, each once, in topological order; without those in `seen`, which they are added to. */
export const sortNodes = (roots: Iterable<Value>, seen?: Set<Node>): readonly Node[] =>
  sortByInputs(nodesOf([...roots]), ({ inputs }) => nodesOf(inputs), seen);

/** A shape as messages show it: `[tokens, 64]`. */
export const showShape = (shape: Shape): string => `[${shape.join(", ")}]`;
