// The rotary positions of queries and keys, as tables of cosine and sine.
// R rotated dimensions of a head
import { constant, type RotationTables } from "mixture-of-shards-graph";
import type { ModelConfig } from "../config.ts";
import {
  isWindowed,
  layerRope,
  type RopeConfig,
  type Rotation,
  ropeFrequencies,
  rotatedWidth,
} from "../geometry.ts";
import type { MixerOptions } from "./mixer.ts";

/** What queries and keys are rotated by. */
export interface LayerTables {
  readonly q: RotationTables;
  readonly k: RotationTables;
}

/** The rotation of each layer; layers with the same rope share it. */
export function layerTables(
  config: ModelConfig,
  { ids, maxPositions: positions, attention }: Pick<MixerOptions, "ids" | "maxPositions" | "attention">,
): (layer: number) => LayerTables | undefined {
  const [, length] = ids.shape;
  // the operator wants a row for each token, even where positions restart within a row of the batch
  const needed = typeof length === "number" ? Math.max(length, positions) : positions;
  const rows = attention.rotates ? needed + 1 : needed;
  const made = new Map<RopeConfig, LayerTables>();
  return (layer) => {
    const rope = layerRope(config, layer);
    if (rope === undefined) return undefined;
    const rotation = { rope, rotaryDim: rotatedWidth(config, isWindowed(config, layer)), positions };
    const create = (): LayerTables => {
      const k = rotationTables(rotation, { rows });
      const scale = queryScale(config, rows);
      return { q: scale === undefined ? k : rotationTables(rotation, { rows, scale }), k };
    };
    const found = made.get(rope) ?? create();
    made.set(rope, found);
    return found;
  };
}

/** The factor on queries by their position; undefined where it is 1 for all. */
function queryScale(
  { queryScale: stated }: ModelConfig,
  rows: number,
): ((position: number) => number) | undefined {
  if (stated === undefined || rows <= stated.originalPositions) return undefined;
  return (position) => 1 + stated.beta * Math.log(1 + Math.floor(position / stated.originalPositions));
}

interface TableOptions {
  readonly rows?: number;
  /** Factor on what is rotated, by its position; 1. */
  readonly scale?: (position: number) => number;
}

/** Cosine and sine of the angle of every position below `rows`, [rows, R / 2], computed in double precision. */
export function rotationTables(
  rotation: Rotation & { readonly positions: number },
  { rows = rotation.positions, scale = () => 1 }: TableOptions = {},
): RotationTables {
  const frequencies = ropeFrequencies(rotation);
  const half = frequencies.length;
  const factor = "attentionFactor" in rotation.rope ? rotation.rope.attentionFactor : 1;
  const cosine = new Float32Array(rows * half);
  const sine = new Float32Array(rows * half);
  for (let p = 0; p < rows; p++) {
    const size = factor * scale(p);
    frequencies.forEach((frequency, i) => {
      // float32 angles, as the reference implementations have them
      const angle = Math.fround(p * Math.fround(frequency));
      cosine[p * half + i] = Math.cos(angle) * size;
      sine[p * half + i] = Math.sin(angle) * size;
    });
  }
  return { cosine: constant(cosine, [rows, half]), sine: constant(sine, [rows, half]) };
}
