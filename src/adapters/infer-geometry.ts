// The shape of the base that an adapter fits, from the adapter's own tensors: the geometry for which the method would
// make tensors of exactly these names and shapes.
import { MosError } from "#core";
import type { LinearName } from "#graph";
import type { LayerShapes, Widths } from "./method.ts";
import { type AdapterConfig, bindMethod } from "./methods.ts";

type Shapes = ReadonlyMap<string, readonly number[]>;

const MAX_LAYERS = 512;
/** A width that every number of shards and chunks divides that a person would take; the other is its double. */
const PROBE = 2 ** 16 * 3 * 5 * 7;

/** Names and shapes of the tensors that would be saved. Methods may refuse a geometry. */
function shapesFor(config: AdapterConfig, shapes: LayerShapes): Shapes | undefined {
  const method = bindMethod(config);
  try {
    return new Map(
      method
        .tensors(shapes)
        .filter(({ role }) => role !== "seeded")
        .map(({ name, shape }) => [method.tensorName(name), shape]),
    );
  } catch {
    return undefined;
  }
}

const probes = (config: AdapterConfig): Record<string, Widths> =>
  Object.fromEntries(config.targets.map((name) => [name, { in: PROBE, out: PROBE }]));

/** A width by the dimensions that follow it: those that double as it doubles, and that it alone decides. */
function widthFrom(found: Shapes, before: Shapes, after: Shapes): number | undefined {
  for (const [name, shape] of before) {
    const doubled = after.get(name);
    const axis = shape.findIndex((size, i) => doubled?.[i] === 2 * size);
    const actual = found.get(name)?.[axis];
    if (axis >= 0 && actual !== undefined) return Math.round((actual * PROBE) / (shape[axis] ?? 1));
  }
  return undefined;
}

interface Probe {
  readonly layers: number;
  readonly before: Shapes;
}

function widthsFor(
  config: AdapterConfig,
  { layers, before }: Probe,
  found: Shapes,
): Readonly<Partial<Record<LinearName, Widths>>> | undefined {
  const widths = probes(config);
  if (before.size !== found.size || [...before.keys()].some((name) => !found.has(name))) return undefined;
  const result: Record<string, Widths> = {};
  for (const linear of config.targets) {
    const sides = (["in", "out"] as const).map((side) => {
      const wider = { ...widths, [linear]: { in: PROBE, out: PROBE, [side]: 2 * PROBE } };
      const after = shapesFor(config, { layers, widths: wider });
      return after === undefined ? undefined : widthFrom(found, before, after);
    });
    const [into, out] = sides;
    if (into === undefined || out === undefined) return undefined;
    result[linear] = { in: into, out };
  }
  return result;
}

const equal = (found: Shapes, made: Shapes | undefined): boolean =>
  made !== undefined &&
  made.size === found.size &&
  [...made].every(([name, shape]) => found.get(name)?.join() === shape.join());

/** Tests whether a width smaller by one would give the same tensors: chunks are rounded up. */
const isLoose = (config: AdapterConfig, { layers, widths }: LayerShapes, found: Shapes): boolean =>
  config.targets.some((linear) =>
    (["in", "out"] as const).some((side) => {
      const given = widths[linear] ?? { in: 0, out: 0 };
      const narrower = { ...widths, [linear]: { ...given, [side]: given[side] - 1 } };
      return equal(found, shapesFor(config, { layers, widths: narrower }));
    }),
  );

/**
 * The geometry of an adapter's base, by the names and shapes of the adapter's tensors.
 *
 * @throws MosError `bad_option` where they do not determine it: some methods draw a part again from the seed, keep nothing for
 * each layer, or round widths up.
 */
export function inferShapes(config: AdapterConfig, found: Shapes): LayerShapes {
  const fitting: LayerShapes[] = [];
  for (let layers = 1; layers <= MAX_LAYERS && fitting.length < 2; layers++) {
    const before = shapesFor(config, { layers, widths: probes(config) });
    // more layers never make fewer tensors
    if (before === undefined || before.size > found.size) break;
    const widths = widthsFor(config, { layers, before }, found);
    if (widths !== undefined && equal(found, shapesFor(config, { layers, widths })))
      fitting.push({ layers, widths });
  }
  const [only, another] = fitting;
  if (only !== undefined && another === undefined && !isLoose(config, only, found)) return only;
  throw new MosError(
    "bad_option",
    `the tensors of this ${config.method} adapter do not tell how many layers its base has, or how wide they are; give --model too`,
  );
}
