// Rotary frequencies in config.json.
import { MosError } from "#core";
import { type ModelGeometry, type RopeConfig, ropeFrequencies, rotaryDimOf } from "../geometry.ts";
import { given, unsupported } from "./family.ts";
import type { RawConfig, RawRope } from "./raw-config.ts";

interface RopePlace {
  readonly raw: RawConfig;
  readonly where: string;
}

/** √(1 + ln(max / original) / ln(original)), where the model was stretched (Phi-3). */
const stretchFactor = (max: number, original: number): number =>
  max <= original ? 1 : Math.sqrt(1 + Math.log(max / original) / Math.log(original));

/**
 * A rope of config.json.
 *
 * @throws MosError "unsupported" for a scaling that cannot be run, "bad_model" for one that lacks a field.
 */
export function parseRope(rope: RawRope, { raw, where }: RopePlace): RopeConfig {
  const theta = rope.rope_theta ?? raw.rope_theta ?? 10000;
  const named = rope.rope_type ?? rope.type ?? "default";
  // Phi-3 called it "su" first, and "yarn" for a while
  const kind = rope.short_factor && (named === "su" || named === "yarn") ? "longrope" : named;
  const need = <K extends keyof RawRope & string>(field: K) => {
    const value = rope[field] ?? (raw as Readonly<Record<string, unknown>>)[field];
    if (value === undefined || value === null)
      throw new MosError("bad_model", `${where}: rope scaling of the type "${kind}" lacks ${field}`);
    return value as NonNullable<RawRope[K]>;
  };
  switch (kind) {
    case "default":
      return { kind, theta };
    case "linear":
      return { kind, theta, factor: need("factor") as number };
    case "llama3":
      return {
        kind,
        theta,
        factor: need("factor") as number,
        lowFrequencyFactor: need("low_freq_factor") as number,
        highFrequencyFactor: need("high_freq_factor") as number,
        originalMaxPositions: need("original_max_position_embeddings") as number,
      };
    case "longrope": {
      const original = need("original_max_position_embeddings") as number;
      return {
        kind: "longrope",
        theta,
        shortFactors: need("short_factor") as readonly number[],
        longFactors: need("long_factor") as readonly number[],
        originalMaxPositions: original,
        attentionFactor:
          given(rope.attention_factor) ??
          stretchFactor((given(rope.factor) ?? raw.max_position_embeddings / original) * original, original),
      };
    }
    default:
      throw unsupported(
        where,
        `rope scaling of the type "${kind}" cannot be run; default, linear, llama3 and longrope can`,
      );
  }
}

/** What Meta's Llama 3.1 and later were trained with; only `factor` differs among them. */
const LLAMA3_SCALING = { lowFrequencyFactor: 1, highFrequencyFactor: 4, originalMaxPositions: 8192 } as const;

/** Relative; GGUF keeps its factors in float32. */
const CLOSE_ENOUGH = 1e-4;

/**
 * A GGUF file lists what each frequency is divided by. config.json cannot, so the list becomes Llama 3's rule
 * where it fits, or a linear scaling where all are equal.
 */
function namedRope(config: ModelGeometry, where: string): RopeConfig {
  const { rope } = config;
  if (rope.kind !== "factors") return rope;
  const { theta } = rope;
  const factor = rope.factor * Math.max(...rope.factors);
  const short = Number(factor.toPrecision(6));
  const rotaryDim = rotaryDimOf(config);
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
    case "longrope":
      return {
        rope_type: "longrope",
        short_factor: rope.shortFactors,
        long_factor: rope.longFactors,
        attention_factor: rope.attentionFactor,
      };
    default:
      return undefined;
  }
}

/**
 * The fields of config.json that state the rotation.
 *
 * @throws MosError "unsupported" for factors that config.json cannot state.
 */
export function ropeFields(config: ModelGeometry, where: string): Readonly<Record<string, unknown>> {
  const rope = namedRope(config, where);
  const stated = scaling(rope);
  const { rotaryDim, headDim } = config;
  return {
    rope_theta: rope.theta,
    ...(stated === undefined ? {} : { rope_scaling: stated }),
    ...(rope.kind === "longrope" ? { original_max_position_embeddings: rope.originalMaxPositions } : {}),
    ...(rotaryDim === undefined ? {} : { partial_rotary_factor: rotaryDim / headDim }),
  };
}
