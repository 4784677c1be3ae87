// Factors of single target modules → one plain LoRA adapter, which has one rank and one scale for all of them.
// R the largest rank · r a module's own rank
import {
  type Adapter,
  type AdapterTensor,
  bindMethod,
  type ExpandedFactors,
  expandFactors,
  type LayerShapes,
  parseAdapterConfig,
} from "#adapters";
import { MosError } from "#common";
import {
  LINEAR_NAMES,
  type LinearName,
  listPools,
  listTargets,
  moduleKey,
  modulePath,
  type TargetModule,
} from "#models";

/** Factors in PEFT's layout. */
export interface Factors {
  readonly rank: number;
  /** A [r, in] */
  readonly a: Float32Array;
  /** B [out, r] */
  readonly b: Float32Array;
}

/** Factors of one target module; the update is scale · B A. */
export interface ModuleFactors extends Factors {
  readonly scale: number;
}

/** A plain LoRA, and the target modules that had to change to give all one rank and one scale, by `${layer}.${linear}`. */
export interface AssembledLora {
  readonly adapter: Adapter;
  readonly alpha: number;
  /** Modules of lower rank, whose factors were padded with zeros, which changes no result. */
  readonly padded: readonly string[];
  /** Modules of another scale, whose B was multiplied by the quotient of the scales and rounded to float32. */
  readonly folded: readonly string[];
  /** Modules of a targeted type that had no factors: all zeros. */
  readonly absent: readonly string[];
}

/** PEFT's name of a factor of the module at `path` in adapter_model.safetensors. */
export const peftTensorName = (path: string, side: "A" | "B"): string =>
  `base_model.model.${path}.lora_${side}.weight`;

const MAX_ALPHA = 1e6;
/**
 * The most numbers that a LoRA made from a file of `given` numbers may have: 2²⁸, or four times as many as the file. So a
 * small file cannot fill the memory.
 */
export const maxExpandedSize = (given: number): number => Math.max(2 ** 28, 4 * given);

/** alpha as the short decimal that it probably was: 16 / 3 · 3 is 16. */
const inferAlpha = (scale: number, rank: number): number => Number((scale * rank).toPrecision(15));

/** The scale that most modules have, if an adapter can have it; else 1. */
function commonScale(factors: Iterable<ModuleFactors>, rank: number): number {
  const counts = new Map<number, number>();
  for (const { scale } of factors) counts.set(scale, (counts.get(scale) ?? 0) + 1);
  const [scale] = [...counts].reduce((most, entry) => (entry[1] > most[1] ? entry : most), [1, 0]);
  const alpha = inferAlpha(scale, rank);
  return alpha > 0 && alpha <= MAX_ALPHA ? scale : 1;
}

/** Refuses ranks so unlike that padding would multiply a small file into a large adapter. */
function checkGrowth(
  factors: ReadonlyMap<string, ModuleFactors>,
  { rank, targets, shapes }: { rank: number; targets: readonly LinearName[]; shapes: LayerShapes },
): void {
  let given = 0;
  for (const { a, b } of factors.values()) given += a.length + b.length;
  const needed = listPools(shapes, targets).reduce(
    (sum, { in: width, out, layers }) => sum + rank * layers.length * (width + out),
    0,
  );
  if (needed > maxExpandedSize(given))
    throw new MosError(
      "unsupported",
      `the ranks of the layers differ so much that a LoRA of one rank (${rank}) would have ${needed} parameters instead of ${given}; merge the adapter into its base with PEFT (merge_and_unload) instead`,
    );
}

/** Tests whether two scales are equal up to the rounding of alpha / r. */
const isSame = (a: number, b: number): boolean => Math.abs(a - b) <= 1e-12 * Math.abs(b);

/** A [r, in] → [R, in], or zeros. */
function paddedA(target: ModuleFactors | undefined, length: number): Float32Array {
  const result = new Float32Array(length);
  if (target !== undefined) result.set(target.a);
  return result;
}

/** B [out, r] → [out, R] times `factor`, or zeros. */
function paddedB(
  target: ModuleFactors | undefined,
  { out, rank, scale }: { readonly out: number; readonly rank: number; readonly scale: number },
): Float32Array {
  const result = new Float32Array(out * rank);
  if (target === undefined) return result;
  const factor = isSame(target.scale, scale) ? 1 : target.scale / scale;
  for (let row = 0; row < out; row++)
    for (let i = 0; i < target.rank; i++)
      result[row * rank + i] = (target.b[row * target.rank + i] ?? 0) * factor;
  return result;
}

/**
 * Makes one LoRA of factors that may differ in rank and scale. The rank becomes the largest; lower ones are padded with
 * zeros. The scale becomes the one that most modules have; elsewhere the quotient is multiplied into B, which rounds to
 * float32 unless it is a power of two. Targeted modules without factors become zeros.
 *
 * @throws MosError "unsupported" or "bad_config" for what no LoRA of one rank can hold, "bad_adapter" if B overflows.
 */
export function assembleLora(
  factors: ReadonlyMap<string, ModuleFactors>,
  {
    shapes,
    dropout,
    seed,
  }: { readonly shapes: LayerShapes; readonly dropout: number; readonly seed: number },
): AssembledLora {
  const rank = Math.max(...[...factors.values()].map((target) => target.rank));
  const scale = commonScale(factors.values(), rank);
  const targets = LINEAR_NAMES.filter((linear) =>
    listTargets(shapes, [linear]).some((target) => factors.has(moduleKey(target))),
  );
  checkGrowth(factors, { rank, targets, shapes });
  const alpha = inferAlpha(scale, rank);
  const config = parseAdapterConfig({ method: "lora", rank, alpha, dropout, targets, seed }, "LoRA");
  const method = bindMethod(config);
  method.check(shapes);
  const own = new Map(method.tensors(shapes).map((spec) => [method.tensorName(spec.name), spec]));
  const tensors = new Map<string, AdapterTensor>();
  const put = (
    target: TargetModule,
    side: "A" | "B",
    fill: (rows: number, width: number) => Float32Array,
  ): void => {
    const spec = own.get(peftTensorName(modulePath(target), side));
    const [rows = 0, width = 0] = spec?.shape ?? [];
    if (spec !== undefined) tensors.set(spec.name, { shape: spec.shape, data: fill(rows, width) });
  };
  for (const target of listTargets(shapes, targets)) {
    const found = factors.get(moduleKey(target));
    put(target, "A", (rows, width) => paddedA(found, rows * width));
    put(target, "B", (out) => paddedB(found, { out, rank, scale }));
  }
  checkNumbers(tensors);
  const keysWhere = (is: (target: ModuleFactors) => boolean): readonly string[] =>
    [...factors].filter(([, target]) => is(target)).map(([key]) => key);
  return {
    adapter: { config, shapes, tensors },
    alpha,
    padded: keysWhere((target) => target.rank < rank),
    folded: keysWhere((target) => !isSame(target.scale, scale)),
    absent: listTargets(shapes, targets)
      .map(moduleKey)
      .filter((key) => !factors.has(key)),
  };
}

function checkNumbers(tensors: ReadonlyMap<string, AdapterTensor>): void {
  for (const [name, { data }] of tensors)
    for (const value of data)
      if (!Number.isFinite(value))
        throw new MosError(
          "bad_adapter",
          `${name}: scaling it to the adapter's single alpha overflows float32`,
        );
}

/** [rows, columns] → [columns, rows] */
export function transposed(data: Float32Array, columns: number): Float32Array {
  const rows = data.length / columns;
  const result = new Float32Array(data.length);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++)
      result[column * rows + row] = data[row * columns + column] ?? 0;
  return result;
}

/** With B in place of Bᵀ [r, out]. */
const moduleFactors = ({ rank, scale, a, b }: ExpandedFactors): ModuleFactors => ({
  rank,
  scale,
  a,
  b: transposed(b, b.length / rank),
});

/**
 * Any adapter as a plain LoRA: the rank of its factors, alpha = scale · rank, and the linear types that it really
 * changes. Exact where every module has the same rank and scale, as in all methods of this package: no number is rounded.
 *
 * @throws MosError "bad_config" for factors of a rank that no LoRA can have.
 */
export async function toLora(adapter: Adapter): Promise<AssembledLora> {
  const factors = await expandFactors(adapter);
  const { shapes, config } = adapter;
  return assembleLora(new Map([...factors].map(([key, found]) => [key, moduleFactors(found)])), {
    shapes,
    dropout: config.dropout,
    seed: config.seed,
  });
}
