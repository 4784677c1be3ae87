// Precedence of the fields for rotary embeddings. config.json states them on top, in rope_scaling (transformers 4) and in
// rope_parameters (transformers 5), some of them twice. A value counts where transformers takes it; one that it would
// drop for a default is refused.
import { MosError } from "#core";
import { type Family, unsupported } from "./family.ts";
import { LAYER_TYPES, type RawConfig, type RawRope } from "./raw-config.ts";

interface RopePlace {
  readonly family: Family;
  readonly where: string;
}

/** The rope of a type of layers. */
export interface RopeFields {
  readonly rope: RawRope;
  /** rope_type, or the older name for it. */
  readonly type: string;
  readonly theta: number;
  /** original_max_position_embeddings, for the types of rope that know it. */
  readonly original: () => number;
  /** The part of a head that is rotated. */
  readonly part: number;
  /** Stated for a type of layers rather than for all. */
  readonly isLayerSpecific: boolean;
}

/** The ropes of a model. */
export interface ModelRopes {
  readonly full: RopeFields;
  /** Rope of windowed layers, in families that give them their own. */
  readonly windowed?: RopeFields;
}

/** The first of the values that is stated; null is no number, and transformers takes it for one. */
function firstStated(name: string, where: string, values: readonly (number | null | undefined)[]): number {
  const value = values.find((candidate) => candidate !== undefined);
  if (value === undefined || value === null)
    throw new MosError(
      "bad_model",
      `${where}: ${name} is ${value === null ? "null" : "missing"}; a number is expected`,
    );
  return value;
}

/** The ropes that a config.json states. Throws `bad_model` and `unsupported`. */
export const readRopes = (raw: RawConfig, place: RopePlace): ModelRopes =>
  place.family.ropesByLayerType === true ? ropesByLayerType(raw, place) : { full: commonRope(raw, place) };

const ropeType = ({ rope_type, type }: RawRope): string => rope_type ?? type ?? "default";

/** One rope for all layers: rope_scaling alone where both are there. */
function commonRope(raw: RawConfig, { family, where }: RopePlace): RopeFields {
  const { rope_scaling: scaling, rope_parameters: parameters } = raw;
  for (const [name, rope] of Object.entries({ rope_scaling: scaling, rope_parameters: parameters })) {
    const layerType = LAYER_TYPES.find((type) => rope?.[type] !== undefined);
    if (layerType !== undefined)
      throw unsupported(where, `${name}.${layerType} cannot be run; all layers of this family have one rope`);
  }
  const usesScaling = scaling !== undefined && scaling !== null && Object.keys(scaling).length > 0;
  const rope = usesScaling ? scaling : (parameters ?? {});
  const theta = firstStated("rope_theta", where, [rope.rope_theta, raw.rope_theta, 10000]);
  const part = rope.partial_rotary_factor ?? raw.partial_rotary_factor ?? 1;
  const taken = { rope_theta: theta, partial_rotary_factor: part };
  if (usesScaling)
    for (const field of ["rope_theta", "partial_rotary_factor"] as const) {
      const dropped = parameters?.[field] ?? taken[field];
      if (dropped !== taken[field])
        throw unsupported(
          where,
          `rope_scaling stands beside rope_parameters, whose ${field} ${dropped} transformers drops for ${taken[field]}; state the scaling in rope_parameters, and leave rope_scaling out`,
        );
    }
  const original = (): number => readOriginalLength(rope, raw, { family, where });
  return { rope, type: ropeType(rope), theta, part, original, isLayerSpecific: false };
}

/** The length on top counts before that in the rope. */
function readOriginalLength(rope: RawRope, raw: RawConfig, { family, where }: RopePlace): number {
  const name = "original_max_position_embeddings";
  const { [name]: onTop, max_position_embeddings: longest } = raw;
  const { originalMaxPositions: assumed } = family;
  const own = rope[name] ?? assumed;
  if (onTop === undefined && assumed !== undefined && own !== assumed)
    throw unsupported(
      where,
      `${name} ${own} is stated in the rope alone, where transformers drops it for ${assumed}; state it on top`,
    );
  return firstStated(name, where, [onTop, assumed, rope[name], longest]);
}

/** A rope for full layers, on which rope_scaling is laid, and one for windowed layers. */
function ropesByLayerType(raw: RawConfig, { where }: RopePlace): ModelRopes {
  const { rope_scaling: scaling, rope_parameters: parameters } = raw;
  const isLayerType = (key: string): boolean => LAYER_TYPES.some((type) => type === key);
  const stray = Object.keys(parameters ?? {}).find((key) => !isLayerType(key));
  if (stray !== undefined)
    throw unsupported(
      where,
      `rope_parameters.${stray} is read by no layer; state it in full_attention, sliding_attention or both`,
    );
  const nested = Object.keys(scaling ?? {}).find(isLayerType);
  if (nested !== undefined)
    throw unsupported(where, `rope_scaling.${nested} is read by no layer; state it in rope_parameters`);
  const rope = { ...(parameters?.full_attention ?? { rope_type: "default" }), ...scaling };
  if (scaling?.type !== undefined && ropeType(rope) !== scaling.type)
    throw unsupported(
      where,
      `rope_scaling.type "${scaling.type}" is not read in this family; call it rope_type`,
    );
  const local = parameters?.sliding_attention ?? {};
  return {
    full: readLayerTypeRope(rope, raw, { where, theta: ["rope_theta", raw.rope_theta] }),
    windowed: readLayerTypeRope(local, raw, {
      where,
      theta: ["rope_local_base_freq", raw.rope_local_base_freq],
    }),
  };
}

interface LayerTypePlace {
  readonly where: string;
  /** What the base is called on top, and the base itself. */
  readonly theta: readonly [name: string, value: number | null | undefined];
}

function readLayerTypeRope(
  rope: RawRope,
  raw: RawConfig,
  { where, theta: [name, base] }: LayerTypePlace,
): RopeFields {
  const { original_max_position_embeddings: own } = rope;
  const { original_max_position_embeddings: onTop, max_position_embeddings: longest } = raw;
  return {
    rope,
    type: ropeType(rope),
    theta: firstStated(name, where, [rope.rope_theta, base]),
    part: rope.partial_rotary_factor ?? raw.partial_rotary_factor ?? 1,
    original() {
      if (own === undefined && (onTop ?? longest) !== longest)
        throw unsupported(
          where,
          `original_max_position_embeddings ${onTop} is not read on top in this family; state it in the rope of the layers' type`,
        );
      return firstStated("original_max_position_embeddings", where, [own, longest]);
    },
    isLayerSpecific: true,
  };
}
