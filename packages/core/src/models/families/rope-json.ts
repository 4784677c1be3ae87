// Rotary frequencies in config.json.
import { MosError, omitUndefined } from "#common";
import {
  type ModelShape,
  maxPositions,
  type RopeConfig,
  ropeFrequencies,
  rotatedWidth,
  yarnFactor,
} from "../geometry.ts";
import { type Family, nullToUndefined, unsupported } from "./family.ts";
import { LAYER_TYPES, type RawConfig, type RawRope } from "./raw-config.ts";

interface RopePlace {
  readonly raw: RawConfig;
  readonly family: Family;
  readonly where: string;
}

/**
 * The rotation of a config.json, and the longest sequence, which some scalings extend.
 *
 * @throws MosError "unsupported" for a scaling that cannot be run, "bad_model" for one that lacks a field.
 */
export function parseRopes(
  headDim: number,
  { raw, family, where }: RopePlace,
): Pick<ModelShape, "rope" | "localRope" | "rotaryDim" | "maxPositions"> {
  const place = { raw, family, where };
  const { full, windowed }: ModelRopes =
    family.ropesByLayerType === true ? ropesByLayerType(place) : { full: commonRope(place) };
  const rope = parseRope(full, place);
  const parts = [full, windowed].map((stated) => (stated?.type === "proportional" ? 1 : (stated?.part ?? 1)));
  const part = parts.find((stated) => stated !== 1) ?? 1;
  if (part !== 1 && family.rotatesByRope === true)
    throw unsupported(
      where,
      `rope_type "default" beside partial_rotary_factor ${part} is ambiguous: transformers drops the factor; state "proportional" to rotate that part of a head, or omit the factor to rotate whole heads`,
    );
  if (part !== 1 && family.rotatesParts !== true)
    throw unsupported(
      where,
      `partial_rotary_factor ${part} is not supported in this family; whole heads are rotated`,
    );
  const rotaryDim = Math.trunc(headDim * part);
  return {
    rope,
    ...(windowed === undefined ? {} : { localRope: parseRope(windowed, place) }),
    ...(rotaryDim === headDim ? {} : { rotaryDim }),
    maxPositions: maxPositions(rope, raw.max_position_embeddings),
  };
}

/** Throws "unsupported" for `rope_scaling`, which does not say to which layers it belongs. */
export function refuseRopeScaling({ rope_scaling }: RawConfig, where: string): void {
  if (Object.keys(rope_scaling ?? {}).length > 0)
    throw unsupported(where, "rope_scaling is not supported in this family; set rope_parameters");
}

const ROPE_TYPES = ["default", "linear", "dynamic", "yarn", "longrope", "llama3"] as const;

function readRopeKind(
  { type }: RopeFields,
  { family, where }: RopePlace,
): (typeof ROPE_TYPES)[number] | "proportional" {
  const { ropeTypes } = family;
  if (type === "proportional" && family.rotatesByRope === true) return type;
  const kind =
    ropeTypes === undefined
      ? ROPE_TYPES.find((name) => name === type)
      : Object.hasOwn(ropeTypes, type)
        ? ropeTypes[type]
        : undefined;
  if (kind !== undefined) return kind;
  const names = [...new Set(ropeTypes === undefined ? ROPE_TYPES : Object.values(ropeTypes))];
  throw unsupported(
    where,
    `rope scaling of the type "${type}" is not supported${ropeTypes === undefined ? "" : " in this family"}; supported are ${names.slice(0, -1).join(", ")} and ${names.at(-1)}`,
  );
}

function parseRope(stated: RopeFields, place: RopePlace): RopeConfig {
  const { raw, where } = place;
  const { rope, theta } = stated;
  const kind = readRopeKind(stated, place);
  const need = <K extends keyof RawRope & string>(field: K): NonNullable<RawRope[K]> => {
    const value = rope[field];
    if (value === undefined || value === null)
      throw new MosError("bad_model", `${where}: rope scaling of the type "${kind}" lacks ${field}`);
    return value;
  };
  /** A ratio of contexts where it is null. */
  const factorOr = (original: number): number =>
    nullToUndefined(rope.factor) ?? raw.max_position_embeddings / original;
  switch (kind) {
    case "default":
      return { kind, theta };
    case "linear":
      return { kind, theta, factor: need("factor") };
    case "proportional":
      return { kind, theta, part: stated.part, factor: nullToUndefined(rope.factor) ?? 1 };
    case "dynamic":
      return { kind, theta, factor: need("factor"), originalMaxPositions: raw.max_position_embeddings };
    case "llama3":
      return {
        kind,
        theta,
        factor: need("factor"),
        lowFrequencyFactor: need("low_freq_factor"),
        highFrequencyFactor: need("high_freq_factor"),
        originalMaxPositions: stated.original(),
      };
    case "yarn":
      return parseYarn(stated, { where, factorOr });
    case "longrope": {
      const originalMaxPositions = stated.original();
      return {
        kind,
        theta,
        shortFactors: need("short_factor"),
        longFactors: need("long_factor"),
        originalMaxPositions,
        attentionFactor:
          nullToUndefined(rope.attention_factor) ??
          stretchFactor(factorOr(originalMaxPositions), originalMaxPositions),
      };
    }
  }
}

/** √(1 + ln(factor) / ln(original)), where the model was stretched (Phi-3). */
const stretchFactor = (factor: number, original: number): number =>
  factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(original));

function parseYarn(
  { rope, theta, isLayerSpecific, ...stated }: RopeFields,
  { where, factorOr }: { readonly where: string; readonly factorOr: (original: number) => number },
): RopeConfig {
  if (rope.factor === undefined)
    throw new MosError("bad_model", `${where}: rope scaling of the type "yarn" lacks factor`);
  // null is false to transformers
  const truncate = rope.truncate === undefined || rope.truncate === true;
  if (isLayerSpecific && !truncate)
    throw unsupported(where, "truncate false is not supported in this family; omit it");
  const originalMaxPositions = stated.original();
  const factor = factorOr(originalMaxPositions);
  const { mscale, mscale_all_dim: allDim } = rope;
  const ratio = mscale && allDim ? yarnFactor(factor, mscale) / yarnFactor(factor, allDim) : undefined;
  return {
    kind: "yarn",
    theta,
    factor,
    originalMaxPositions,
    betaFast: rope.beta_fast || 32,
    betaSlow: rope.beta_slow || 1,
    truncate,
    attentionFactor: nullToUndefined(rope.attention_factor) ?? ratio ?? yarnFactor(factor),
  };
}

/** Scaling of Meta's Llama 3.1 and later, which differ only in `factor`. */
const LLAMA3_SCALING = { lowFrequencyFactor: 1, highFrequencyFactor: 4, originalMaxPositions: 8192 } as const;

/** Relative; GGUF keeps its factors in float32. */
const CLOSE_ENOUGH = 1e-4;

/**
 * A GGUF file lists what each frequency is divided by. config.json cannot, so the list becomes Llama 3's rule
 * where it fits, or a linear scaling where all are equal.
 */
function namedRope(config: ModelShape, where: string): RopeConfig {
  const { rope } = config;
  if (rope.kind !== "factors") return rope;
  const { theta } = rope;
  const factor = rope.factor * Math.max(...rope.factors);
  const short = Number(factor.toPrecision(6));
  const rotaryDim = rotatedWidth(config);
  const wanted = ropeFrequencies({ rope, rotaryDim });
  const candidates: readonly RopeConfig[] = [
    short === 1 ? { kind: "default", theta } : { kind: "linear", theta, factor: short },
    { kind: "llama3", theta, factor: short, ...LLAMA3_SCALING },
  ];
  const found = candidates.find((candidate) =>
    ropeFrequencies({ rope: candidate, rotaryDim }).every(
      (frequency, i) => Math.abs(frequency / (wanted[i] ?? 0) - 1) < CLOSE_ENOUGH,
    ),
  );
  if (found !== undefined) return found;
  throw unsupported(
    where,
    `its rotary factors (rope_freqs.weight) are not those of Llama 3 with any factor, so config.json cannot state them; use the model's Hugging Face folder`,
  );
}

/** A rope as transformers 5 states it. */
export const ropeParameters = (rope: RopeConfig): Readonly<Record<string, unknown>> => ({
  rope_type: "default",
  rope_theta: rope.theta,
  ...scaling(rope),
});

/** The ropes of full and of windowed layers, as transformers 5 states them, which would drop them for a null beside them. */
export const layerTypeRopes = ({ rope, localRope = rope }: ModelShape) => ({
  rope_scaling: undefined,
  rope_parameters: {
    full_attention: ropeParameters(rope),
    sliding_attention: ropeParameters(localRope),
  },
});

function scaling(rope: RopeConfig): Readonly<Record<string, unknown>> | undefined {
  switch (rope.kind) {
    case "linear":
      return { rope_type: "linear", factor: rope.factor };
    case "proportional":
      return { rope_type: "proportional", partial_rotary_factor: rope.part, factor: rope.factor };
    case "llama3":
      return {
        rope_type: "llama3",
        factor: rope.factor,
        low_freq_factor: rope.lowFrequencyFactor,
        high_freq_factor: rope.highFrequencyFactor,
        original_max_position_embeddings: rope.originalMaxPositions,
      };
    case "dynamic":
      return { rope_type: "dynamic", factor: rope.factor };
    case "yarn":
      return {
        rope_type: "yarn",
        factor: rope.factor,
        original_max_position_embeddings: rope.originalMaxPositions,
        attention_factor: rope.attentionFactor,
        beta_fast: rope.betaFast,
        beta_slow: rope.betaSlow,
        ...(rope.truncate ? {} : { truncate: false }),
      };
    case "longrope":
      return {
        rope_type: "longrope",
        original_max_position_embeddings: rope.originalMaxPositions,
        short_factor: rope.shortFactors,
        long_factor: rope.longFactors,
        attention_factor: rope.attentionFactor,
      };
    default:
      return undefined;
  }
}

/**
 * The fields of config.json that state the rotation and the context.
 *
 * @throws MosError "unsupported" for factors that config.json cannot state.
 */
export function ropeFields(config: ModelShape, where: string): Readonly<Record<string, unknown>> {
  const rope = namedRope(config, where);
  const stated = scaling(rope);
  const { rotaryDim, headDim } = config;
  return {
    max_position_embeddings: rope.kind === "dynamic" ? rope.originalMaxPositions : config.maxPositions,
    rope_theta: rope.theta,
    ...omitUndefined({ rope_scaling: stated }),
    ...(rotaryDim === undefined ? {} : { partial_rotary_factor: rotaryDim / headDim }),
  };
}

// Precedence of the fields for rotary embeddings: config.json states them on top, in rope_scaling (transformers 4) and in
// rope_parameters (transformers 5), some of them twice. A value counts where transformers takes it; one that it would
// drop for a default is refused.

/** The rope of a type of layers. */
interface RopeFields {
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
interface ModelRopes {
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
      `${where}: ${name} is ${value === null ? "null" : "missing"}; expected a number`,
    );
  return value;
}

/** The type of a rope, which has had two names. */
export const ropeType = ({ rope_type, type }: RawRope): string => rope_type ?? type ?? "default";

/** One rope for all layers: rope_scaling alone where both are there. */
function commonRope({ raw, family, where }: RopePlace): RopeFields {
  const { rope_scaling: scaling, rope_parameters: parameters } = raw;
  for (const [name, rope] of Object.entries({ rope_scaling: scaling, rope_parameters: parameters })) {
    const layerType = LAYER_TYPES.find((type) => rope?.[type] !== undefined);
    if (layerType !== undefined)
      throw unsupported(
        where,
        `${name}.${layerType} is not supported; all layers of this family have one rope`,
      );
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
          `rope_scaling and rope_parameters are both set, and transformers replaces the latter's ${field} ${dropped} with ${taken[field]}; set the scaling in rope_parameters, and omit rope_scaling`,
        );
    }
  const original = (): number => readOriginalLength(rope, { raw, family, where });
  return { rope, type: ropeType(rope), theta, part, original, isLayerSpecific: false };
}

/** The length on top counts before that in the rope. */
function readOriginalLength(rope: RawRope, { raw, family, where }: RopePlace): number {
  const name = "original_max_position_embeddings";
  const { [name]: onTop, max_position_embeddings: longest } = raw;
  const { originalMaxPositions: assumed } = family;
  const own = rope[name] ?? assumed;
  if (onTop === undefined && assumed !== undefined && own !== assumed)
    throw unsupported(
      where,
      `${name} ${own} is set in the rope only, where transformers replaces it with ${assumed}; set it at the top level`,
    );
  return firstStated(name, where, [onTop, assumed, rope[name], longest]);
}

/** A rope for full layers, on which rope_scaling is laid, and one for windowed layers. */
function ropesByLayerType({ raw, where }: RopePlace): ModelRopes {
  const { rope_scaling: scaling, rope_parameters: parameters } = raw;
  const isLayerType = (key: string): boolean => LAYER_TYPES.some((type) => type === key);
  const stray = Object.keys(parameters ?? {}).find((key) => !isLayerType(key));
  if (stray !== undefined)
    throw unsupported(
      where,
      `rope_parameters.${stray} applies to no layer; set it in full_attention, sliding_attention or both`,
    );
  const nested = Object.keys(scaling ?? {}).find(isLayerType);
  if (nested !== undefined)
    throw unsupported(where, `rope_scaling.${nested} applies to no layer; set it in rope_parameters`);
  const rope = { ...(parameters?.full_attention ?? { rope_type: "default" }), ...scaling };
  if (scaling?.type !== undefined && ropeType(rope) !== scaling.type)
    throw unsupported(
      where,
      `rope_scaling.type "${scaling.type}" is not supported in this family; rename it rope_type`,
    );
  const local = parameters?.sliding_attention ?? {};
  return {
    full: readLayerTypeRope(rope, "rope_theta", { raw, where }),
    windowed: readLayerTypeRope(local, "rope_local_base_freq", { raw, where }),
  };
}

/** @param base The field of config.json with the base of the frequencies, unless the rope has it. */
function readLayerTypeRope(
  rope: RawRope,
  base: "rope_theta" | "rope_local_base_freq",
  { raw, where }: Pick<RopePlace, "raw" | "where">,
): RopeFields {
  const { original_max_position_embeddings: own } = rope;
  const { original_max_position_embeddings: onTop, max_position_embeddings: longest } = raw;
  return {
    rope,
    type: ropeType(rope),
    theta: firstStated(base, where, [rope.rope_theta, raw[base]]),
    part: rope.partial_rotary_factor ?? raw.partial_rotary_factor ?? 1,
    original() {
      if (own === undefined && (onTop ?? longest) !== longest)
        throw unsupported(
          where,
          `original_max_position_embeddings ${onTop} is not supported at the top level in this family; set it in the rope of the layers' type`,
        );
      return firstStated("original_max_position_embeddings", where, [own, longest]);
    },
    isLayerSpecific: true,
  };
}
