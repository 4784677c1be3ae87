// The base of an adapter: whether it is the one at hand, and its shape by the adapter's tensors. An adapter is trained on one
// file of weights, but it is used on any quantisation of the same model: its update is added to weights that differ by
// rounding alone.
import { MosError } from "#common";
import type { DecoderSettings } from "#models";
import { type AdapterConfig, bindMethod } from "./adapter.ts";
import type { AdapterBase, SavedBase } from "./folder-config.ts";
import type { LayerShapes, Widths } from "./method.ts";

/** The base that an adapter was trained on, where that differs from the one that it is used with. @inline */
export interface TrainedOn {
  readonly name: string | undefined;
  readonly fingerprint: string;
  /** True if the weights are the same and only token ids differ; otherwise it is another quantisation. */
  readonly sameNumbers?: true;
  /** True if some texts had other token ids in training than they have now. */
  readonly otherTokens?: true;
}

/** Marker of imported adapters, whose training ids are unknown. */
export const UNKNOWN_TOKENS = "unknown";

const hasOtherTokens = (saved: string | undefined, actual: string | undefined): boolean =>
  actual !== undefined && saved !== undefined && saved !== UNKNOWN_TOKENS && saved !== actual;

/** As much of a fingerprint as people compare. */
const short = (fingerprint: string): string => `${fingerprint.slice(0, 19)}…`;

/**
 * Compares the base that an adapter was made for with the one that it is to be used with. Equal fingerprints, or a
 * folder without one, as PEFT saves them, say nothing; another quantisation of the same model is told, and so are other
 * token ids.
 *
 * @throws MosError `bad_adapter` for another model, and for other weights where one side has no identity.
 */
export function checkBase(
  folder: string,
  { name, fingerprint, identity, tokens }: SavedBase,
  actual: Omit<AdapterBase, "name">,
): TrainedOn | undefined {
  if (fingerprint === undefined) return undefined;
  const other = hasOtherTokens(tokens, actual.tokens) ? ({ otherTokens: true } as const) : undefined;
  if (fingerprint === actual.fingerprint)
    return other === undefined ? undefined : { name, fingerprint, sameNumbers: true, ...other };
  if (identity !== undefined && identity === actual.identity) return { name, fingerprint, ...other };
  throw new MosError(
    "bad_adapter",
    `${folder} was trained on another base: ${name ?? "unnamed"} (${short(fingerprint)}), this one is ${short(actual.fingerprint)}; use the base it was trained on`,
  );
}

/** Relative. Files state some numbers in float32, and lists of rotary factors for the rule that they follow. */
const CLOSE_ENOUGH = 1e-4;

const isClose = (a: unknown, b: unknown): boolean =>
  typeof a === "number" && typeof b === "number"
    ? Math.abs(a - b) <= CLOSE_ENOUGH * Math.max(Math.abs(a), Math.abs(b))
    : a === b;

/** Where two settings differ: the name, with an index in a list, and both values. */
function findDifference(
  name: string,
  saved: unknown,
  actual: unknown,
): readonly [string, unknown, unknown] | undefined {
  if (!Array.isArray(saved) || !Array.isArray(actual) || saved.length !== actual.length)
    return isClose(saved, actual) ? undefined : [name, saved, actual];
  const at = saved.findIndex((value, i) => !isClose(value, actual[i]));
  return at < 0 ? undefined : [`${name}[${at}]`, saved[at], actual[at]];
}

const describeValue = (value: unknown): string =>
  value === undefined || value === null ? "none" : `${JSON.stringify(value).slice(0, 80)}`;

/**
 * Compares what the base of an adapter computed beside its weights with what this one does. PEFT's folders say nothing.
 *
 * @throws MosError `bad_adapter` with the first setting that differs.
 */
export function checkDecoder(
  folder: string,
  { name, decoder: saved }: SavedBase,
  actual: DecoderSettings | undefined,
): void {
  if (saved === undefined || actual === undefined) return;
  const names = [...new Set([...Object.keys(actual), ...Object.keys(saved)])];
  const found = names
    .map((key) => findDifference(key, saved[key] ?? null, actual[key] ?? null))
    .find((one) => one !== undefined);
  if (found === undefined) return;
  const [setting, before, now] = found;
  throw new MosError(
    "bad_adapter",
    `${folder} was trained on another base: ${name ?? "an unnamed one"} has ${setting} ${describeValue(before)}, this base has ${describeValue(now)}; use the base it was trained on`,
  );
}

/** Describes it in one line: "trained on another quantisation of the same model: SmolLM2 (sha256:0123456789ab…); used unchanged". */
export function describeTrainedOn({ name, fingerprint, sameNumbers, otherTokens }: TrainedOn): string {
  const numbers = `trained on another quantisation of the same model: ${name ?? "unnamed"} (${short(fingerprint)})`;
  const said = [...(sameNumbers ? [] : [numbers]), ...(otherTokens ? [OTHER_TOKENS] : [])];
  return `${said.join("; ")}; used unchanged`;
}

/** Warns that the ids of the base's tokenizer have changed since the adapter was trained. */
export const OTHER_TOKENS =
  "trained with token ids that differ from this base's, such as those of numbers in lists and tables: retrain it";

// The shape is that for which the method would make tensors of exactly these names and shapes.

type Shapes = ReadonlyMap<string, readonly number[]>;

const MAX_LAYERS = 512;
/** A width that every number of shards and chunks divides that a person would take; the other is its double. */
const PROBE = 2 ** 16 * 3 * 5 * 7;

/** Names and shapes of the tensors that would be saved. Methods may refuse a shape. */
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

const probes = (config: AdapterConfig, width = PROBE): Record<string, Widths> =>
  Object.fromEntries(config.targets.map((name) => [name, { in: width, out: width }]));

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

function widthsFor(
  config: AdapterConfig,
  { layers, before }: { readonly layers: number; readonly before: Shapes },
  found: Shapes,
): LayerShapes["widths"] | undefined {
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

/** Tests whether the dimensions that no width decides are as found. */
const agree = (found: Shapes, before: Shapes, doubled: Shapes): boolean =>
  [...before].every(([name, shape]) =>
    shape.every((size, i) => doubled.get(name)?.[i] !== size || found.get(name)?.[i] === size),
  );

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
 * The shape of an adapter's base, by the names and shapes of the adapter's tensors.
 *
 * @throws MosError `bad_option` where they do not determine it: some methods draw a part again from the seed, keep nothing for
 * each layer, or round widths up.
 */
export function inferShapes(config: AdapterConfig, found: Shapes): LayerShapes {
  const fitting: LayerShapes[] = [];
  for (let layers = 1; layers <= MAX_LAYERS && fitting.length < 2; layers++) {
    const before = shapesFor(config, { layers, widths: probes(config) });
    const doubled = shapesFor(config, { layers, widths: probes(config, 2 * PROBE) });
    // more layers never make fewer tensors, nor tensors that tell a width where none do
    if (before === undefined || before.size > found.size || equal(before, doubled)) break;
    if (doubled === undefined || !agree(found, before, doubled)) continue;
    const widths = widthsFor(config, { layers, before }, found);
    if (widths !== undefined && equal(found, shapesFor(config, { layers, widths })))
      fitting.push({ layers, widths });
  }
  const [only, another] = fitting;
  if (only !== undefined && another === undefined && !isLoose(config, only, found)) return only;
  throw new MosError(
    "bad_option",
    `a ${config.method} adapter does not record the number of layers of its base and their widths; pass --model too`,
  );
}
