import { MosError } from "../error.ts";
import { countElements, type Dim, type Shape } from "../tensor-type.ts";
import {
  constant,
  emit,
  emitAll,
  int64s,
  showShape,
  type Value,
  withGradient,
  withGradients,
} from "../value.ts";

/** A shape as ONNX's Reshape takes it: 0 copies the dimension of the same axis, −1 is inferred from the others. */
function reshapeTarget(from: Shape, to: Shape): readonly number[] {
  const target = to.map((dim, i) => (typeof dim === "number" ? dim : from[i] === dim ? 0 : -1));
  if (target.filter((dim) => dim === -1).length > 1)
    throw new MosError(
      "bad_config",
      `cannot reshape ${showShape(from)} to ${showShape(to)}: more than one unknown dimension`,
    );
  return target;
}

/**
 * The same elements in another shape.
 *
 * @throws MosError `bad_config` where the sizes differ, or more than one dimension would have to be inferred.
 */
export function reshape(x: Value, shape: Shape): Value {
  if (
    ![...x.shape, ...shape].some((dim) => typeof dim === "string") &&
    countElements(x.shape) !== countElements(shape)
  )
    throw new MosError("bad_config", `cannot reshape ${showShape(x.shape)} to ${showShape(shape)}`);
  const y = emit("Reshape", [x, int64s(...reshapeTarget(x.shape, shape))], { shape });
  return withGradient(y, [x], (dy) => [reshape(dy, x.shape)]);
}

/** Dimensions in a new order; `order[i]` is the input axis that becomes axis i. */
export function transpose(x: Value, order: readonly number[]): Value {
  const y = emit("Transpose", [x], {
    shape: order.map((axis) => x.shape[axis] as Dim),
    attributes: { perm: order },
  });
  const inverse = order.map((_, axis) => order.indexOf(axis));
  return withGradient(y, [x], (dy) => [transpose(dy, inverse)]);
}

/**
 * Indices `from` … `to` − 1 of one axis of known size; the outermost is 0.
 *
 * @throws MosError `bad_config` where the range is empty or outside the axis, or the axis' size is not known.
 */
export function slice(x: Value, { axis, from, to }: Readonly<Record<"axis" | "from" | "to", number>>): Value {
  const size = x.shape[axis];
  if (typeof size !== "number" || from < 0 || to > size || from >= to)
    throw new MosError("bad_config", `cannot take ${from}…${to} of axis ${axis} of ${showShape(x.shape)}`);
  if (from === 0 && to === size) return x;
  const y = emit("Slice", [x, int64s(from), int64s(to), int64s(axis)], {
    shape: x.shape.with(axis, to - from),
  });
  return withGradient(y, [x], (dy) => [padAxis(dy, { axis, before: from, after: size - to })]);
}

/**
 * x with zeros before and after, along one axis of known size.
 *
 * @throws MosError `bad_config` where the axis' size is not known.
 */
export function padAxis(
  x: Value,
  { axis, before, after }: Readonly<Record<"axis" | "before" | "after", number>>,
): Value {
  if (before === 0 && after === 0) return x;
  const size = x.shape[axis];
  if (typeof size !== "number")
    throw new MosError("bad_config", `cannot pad axis ${axis} of ${showShape(x.shape)}`);
  const pads = [before, after].flatMap((count) => x.shape.map((_, i) => (i === axis ? count : 0)));
  const y = emit("Pad", [x, int64s(...pads)], { shape: x.shape.with(axis, before + size + after) });
  return withGradient(y, [x], (dy) => [slice(dy, { axis, from: before, to: before + size })]);
}

/**
 * Values joined along one axis. There is no gradient where their sizes along it are not known.
 *
 * @throws MosError `bad_config` for no values.
 */
export function concat(values: readonly Value[], axis: number): Value {
  const [first] = values;
  if (first === undefined) throw new MosError("bad_config", "concat needs at least one value");
  if (values.length === 1) return first;
  const divided = findWhole(values, axis);
  if (divided !== undefined) return divided;
  const sizes = values.map((v) => v.shape[axis] as Dim);
  const known = sizes.every((size) => typeof size === "number");
  const total: Dim = known ? (sizes as number[]).reduce((a, b) => a + b, 0) : sizes.join(" + ");
  const y = emit("Concat", values, {
    shape: first.shape.with(axis, total),
    attributes: { axis },
  });
  if (!known) return y;
  return withGradient(y, values, (dy) => split(dy, { axis, sizes: sizes as number[] }));
}

/** The value that `split` divided into these. */
function findWhole([first, ...others]: readonly Value[], axis: number): Value | undefined {
  const source = first?.source;
  if (source?.kind !== "output" || source.index !== 0) return undefined;
  const { node } = source;
  const areParts = others.every(
    ({ source: other }, i) => other.kind === "output" && other.node === node && other.index === i + 1,
  );
  const isWhole = node.op === "Split" && node.attributes["axis"] === axis;
  return isWhole && areParts && node.outputs.length === 1 + others.length ? node.inputs[0] : undefined;
}

/**
 * x divided along one axis into parts of the given sizes.
 *
 * @throws MosError `bad_config` where the sizes do not add up to that of the axis.
 */
export function split(
  x: Value,
  { axis, sizes }: { readonly axis: number; readonly sizes: readonly number[] },
): readonly Value[] {
  if (sizes.length === 1) return [x];
  if (sizes.reduce((a, b) => a + b, 0) !== x.shape[axis])
    throw new MosError(
      "bad_config",
      `cannot split axis ${axis} of ${showShape(x.shape)} into ${sizes.join(" + ")}`,
    );
  const shapes = sizes.map((size) => x.shape.with(axis, size));
  const parts = emitAll("Split", [x, int64s(...sizes)], { outputs: shapes, attributes: { axis } });
  return withGradients(parts, [x], {
    vjp(dys) {
      const known = dys.map((dy, i) => dy ?? zeros(shapes[i] as Shape));
      return [concat(known, axis)];
    },
  });
}

/**
 * x divided along an axis, the last by default, into parts whose `sizes` [parts] int64 each run is fed; `names` are those of the
 * new dimensions. No gradient.
 */
export function splitDynamic(
  x: Value,
  sizes: Value,
  { names, axis = x.shape.length - 1 }: { readonly names: readonly string[]; readonly axis?: number },
): readonly Value[] {
  const shapes = names.map((name) => x.shape.with(axis, name));
  return emitAll("Split", [x, sizes], { outputs: shapes, attributes: { axis } });
}

/** x divided along an axis, the last by default, into `count` equal parts of size `name` each. No gradient. */
export function splitEqual(
  x: Value,
  count: number,
  { name, axis = x.shape.length - 1 }: { readonly name: string; readonly axis?: number },
): readonly Value[] {
  if (count === 1) return [x];
  const part = x.shape.with(axis, name);
  return emitAll("Split", [x], {
    outputs: Array.from({ length: count }, () => part),
    attributes: { axis, num_outputs: count },
  });
}

/**
 * x itself, but computed only after `others`. The runtime orders nodes by their inputs alone; with this it computes, and
 * frees, earlier what it would otherwise put off. It is a Reshape whose target depends on the others, so it costs nothing.
 */
export function after(x: Value, others: readonly Value[]): Value {
  const int64 = { shape: [1], dtype: "int64" } as const;
  if (others.length === 0) return x;
  const total = others
    .map((other) => emit("Shape", [other], { ...int64, attributes: { start: 0, end: 1 } }))
    .reduce((a, b) => emit("Add", [a, b], int64));
  const own = { shape: [x.shape.length], dtype: "int64" } as const;
  const target = emit("Add", [emit("Shape", [x], own), emit("Mul", [total, int64s(0)], int64)], own);
  return emit("Reshape", [x, target], { shape: x.shape });
}

/** A float32 constant of zeros; all dimensions must be numbers. */
export const zeros = (shape: Shape): Value => constant(new Float32Array(countElements(shape)), shape);
