import { constant, type RotationTables } from "#graph";

/** Frequencies of the rotary embedding, one for each pair of head dimensions. */
export interface RotationOptions {
  readonly frequencies: readonly number[];
  /** Positions 0 … count − 1 can be looked up. */
  readonly positions: number;
}

/** Cosine and sine of every position's angle, [positions, D / 2], computed in double precision. */
export function rotationTables({ frequencies, positions }: RotationOptions): RotationTables {
  const half = frequencies.length;
  const cosine = new Float32Array(positions * half);
  const sine = new Float32Array(positions * half);
  for (let p = 0; p < positions; p++)
    frequencies.forEach((frequency, i) => {
      // float32 angles, as the reference implementations have them
      const angle = Math.fround(p * Math.fround(frequency));
      cosine[p * half + i] = Math.cos(angle);
      sine[p * half + i] = Math.sin(angle);
    });
  return { cosine: constant(cosine, [positions, half]), sine: constant(sine, [positions, half]) };
}
