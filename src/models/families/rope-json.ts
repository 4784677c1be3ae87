// Rotary frequencies in config.json.
import { MosError } from "#core";
import {
  type ModelShape,
  maxPositions,
  type RopeConfig,
  ropeFrequencies,
  rotatedWidth,
  yarnFactor,
} from "../geometry.ts";
import { type Family, nullToUndefined, unsupported } from "./family.ts";
import type { RawConfig, RawRope } from "./raw-config.ts";
import { type RopeFields, readRopes } from "./rope-fields.ts";

interface RopePlace {
  readonly raw: RawConfig;
  readonly family: Family;
  readonly where: string;
}

/** Rotation by config.json. */
export type Ropes = Pick<ModelShape, "rope" | "localRope" | "rotaryDim" | "maxPositions">;

/**
 * The rotation of a config.json, and the longest sequence, which some scalings extend.
 *
 * @throws MosError "unsupported" for a scaling that cannot be run, "bad_model" for one that lacks a field.
 */
export function parseRopes(headDim: number, { raw, family, where }: RopePlace): Ropes {
  const { full, windowed } = readRopes(raw, { family, where });
  const place = { raw, family, where };
  const rope = parseRope(full, place);
  const part = [full.part, windowed?.part].find((stated) => stated !== undefined && stated !== 1) ?? 1;
  if (part !== 1 && family.rotatesParts !== true)
    throw unsupported(
      where,
      `partial_rotary_factor ${part} cannot be run in this family; whole heads are rotated`,
    );
  const rotaryDim = Math.trunc(headDim * part);
  return {
    rope,
    ...(windowed === undefined ? {} : { localRope: parseRope(windowed, place) }),
    ...(rotaryDim === headDim ? {} : { rotaryDim }),
    maxPositions: maxPositions(rope, raw.max_position_embeddings),
  };
}

const ROPE_TYPES = ["default", "linear", "dynamic", "yarn", "longrope", "llama3"] as const;

function readRopeKind({ type }: RopeFields, { family, where }: RopePlace): (typeof ROPE_TYPES)[number] {
  const { ropeTypes } = family;
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
    `rope scaling of the type "${type}" cannot be run${ropeTypes === undefined ? "" : " in this family"}; ${names.slice(0, -1).join(", ")} and ${names.at(-1)} can`,
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

interface YarnPlace {
  readonly where: string;
  readonly factorOr: (original: number) => number;
}

function parseYarn(
  { rope, theta, isLayerSpecific, ...stated }: RopeFields,
  { where, factorOr }: YarnPlace,
): RopeConfig {
  if (rope.factor === undefined)
    throw new MosError("bad_model", `${where}: rope scaling of the type "yarn" lacks factor`);
  // null is false to transformers
  const truncate = rope.truncate === undefined || rope.truncate === true;
  if (isLayerSpecific && !truncate)
    throw unsupported(where, "truncate false is not read in the ropes of this family; leave it out");
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

/** What Meta's Llama 3.1 and later were trained with; only `factor` differs among them. */
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

function scaling(rope: RopeConfig): Readonly<Record<string, unknown>> | undefined {
  switch (rope.kind) {
    case "linear":
      return { rope_type: "linear", factor: rope.factor };
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
    ...(stated === undefined ? {} : { rope_scaling: stated }),
    ...(rotaryDim === undefined ? {} : { partial_rotary_factor: rotaryDim / headDim }),
  };
}
