import type { LlamaConfig, RopeConfig } from "./config.ts";

/** Turns of the slowest and fastest parts are treated differently (Llama 3.1): long waves are stretched by `factor`. */
function stretchLongWaves(frequency: number, rope: Extract<RopeConfig, { kind: "llama3" }>): number {
  const { factor, lowFrequencyFactor, highFrequencyFactor, originalMaxPositions } = rope;
  const wavelength = (2 * Math.PI) / frequency;
  if (wavelength < originalMaxPositions / highFrequencyFactor) return frequency;
  if (wavelength > originalMaxPositions / lowFrequencyFactor) return frequency / factor;
  const smooth =
    (originalMaxPositions / wavelength - lowFrequencyFactor) / (highFrequencyFactor - lowFrequencyFactor);
  return ((1 - smooth) * frequency) / factor + smooth * frequency;
}

function scaled(frequency: number, rope: RopeConfig, index: number): number {
  switch (rope.kind) {
    case "default":
      return frequency;
    case "linear":
      return frequency / rope.factor;
    case "llama3":
      return stretchLongWaves(frequency, rope);
    case "factors":
      return frequency / ((rope.factors[index] ?? 1) * rope.factor);
  }
}

/** Rotary frequencies θ^(−2i/D), i < D / 2, after the model's scaling. */
export const ropeFrequencies = ({
  rope,
  headDim,
}: Pick<LlamaConfig, "rope" | "headDim">): readonly number[] =>
  Array.from({ length: headDim / 2 }, (_, i) => scaled(1 / rope.theta ** ((2 * i) / headDim), rope, i));
