import { MosError } from "#core";

/** A dimension is a number, or a name where only the run knows it. Equal names mean equal sizes. */
export type Dim = number | string;
export type Shape = readonly Dim[];
export type DType = "float32" | "float16" | "int64" | "int32" | "uint8" | "bool";

/** What constants and feeds are made of. Whole numbers travel as Int32Array, also into int64 inputs. */
export type TensorData = Float32Array | Int32Array | Uint8Array;

export type Attribute = number | string | readonly number[] | { readonly float: number };

/** One ONNX node. A plain number is an int attribute, `{ float }` a float one. */
export interface Node {
  readonly op: string;
  readonly domain: string;
  readonly inputs: readonly (Value | undefined)[];
  readonly attributes: Readonly<Record<string, Attribute>>;
  readonly outputs: readonly { readonly shape: Shape; readonly dtype: DType }[];
}

export type Source =
  | { readonly kind: "leaf"; readonly name: string }
  | { readonly kind: "constant"; readonly data: TensorData }
  | { readonly kind: "output"; readonly node: Node; readonly index: number };

/** How a gradient flows back through one operation; `vjp` gets one gradient per output, undefined where none came. */
export interface Rule {
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  readonly vjp: (gradients: readonly (Value | undefined)[]) => readonly (Value | undefined)[];
}

/** A tensor that does not exist yet: a leaf to be fed, a constant, or what a node will compute. */
export interface Value {
  readonly shape: Shape;
  readonly dtype: DType;
  readonly source: Source;
  readonly rule?: Rule;
  /** Computes it anew: cheaper than keeping it until the backward. */
  readonly again?: () => Value;
}

/** What stands for a value in the backward: itself, or its cheap recomputation, which all users share. */
export const recomputed = (value: Value): Value => value.again?.() ?? value;

/** The value, with a way to compute it anew. */
export function withRecomputation(value: Value, compute: () => Value): Value {
  let made: Value | undefined;
  const again = (): Value => {
    made ??= compute();
    return made;
  };
  return { ...value, again };
}

/** An input of the program, known by its name when it is run. */
export const leaf = (name: string, shape: Shape, dtype: DType = "float32"): Value => ({
  shape,
  dtype,
  source: { kind: "leaf", name },
});

export const sizeOf = (shape: Shape): number =>
  shape.reduce<number>((size, dim) => {
    if (typeof dim === "string")
      throw new MosError("bad_config", `dimension ${dim} has no size before the run`);
    return size * dim;
  }, 1);

/** A tensor whose content is part of the program. */
export function constant(data: TensorData, shape: Shape = [data.length], dtype?: DType): Value {
  if (sizeOf(shape) !== data.length)
    throw new MosError(
      "bad_config",
      `a constant of shape [${shape.join(", ")}] needs ${sizeOf(shape)} numbers, not ${data.length}`,
    );
  const natural = data instanceof Float32Array ? "float32" : data instanceof Int32Array ? "int32" : "uint8";
  return { shape, dtype: dtype ?? natural, source: { kind: "constant", data } };
}

export const scalar = (x: number): Value => constant(Float32Array.of(x), []);
/** Shape arguments of ONNX operators are int64. */
export const int64s = (...xs: readonly number[]): Value =>
  constant(Int32Array.from(xs), [xs.length], "int64");

export interface EmitOptions {
  readonly domain?: string;
  readonly attributes?: Readonly<Record<string, Attribute>>;
  readonly dtype?: DType;
}

/** com.microsoft operators are part of every ONNX Runtime build. */
export const MICROSOFT: EmitOptions = { domain: "com.microsoft" };

/** One node with several outputs; gradients are added by `withGradient`. */
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

/** The same tensor, through which gradients flow to `inputs` by `vjp` (and not by how it was computed). */
export function withGradient(
  value: Value,
  inputs: readonly Value[],
  vjp: (dy: Value, y: Value) => readonly (Value | undefined)[],
): Value {
  const outputs: Value[] = [];
  const rule: Rule = {
    inputs,
    outputs,
    vjp: ([dy]) => (dy === undefined ? inputs.map(() => undefined) : vjp(dy, outputs[0] as Value)),
  };
  outputs.push({ ...value, rule });
  return outputs[0] as Value;
}

/** As `withGradient`, for operations with several outputs. */
export function withGradients(
  values: readonly Value[],
  inputs: readonly Value[],
  vjp: Rule["vjp"],
): readonly Value[] {
  const outputs: Value[] = [];
  const rule: Rule = { inputs, outputs, vjp };
  for (const value of values) outputs.push({ ...value, rule });
  return outputs;
}

export const showShape = (shape: Shape): string => `[${shape.join(", ")}]`;
