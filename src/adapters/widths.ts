import { MosError } from "#core";
import type { LinearName } from "#nn";
import type { AdapterGeometry, CommonConfig, Widths } from "./method.ts";

/** Widths of a target. Throws `bad_config` for a linear type that the model does not have. */
export function widthsOf({ widths }: AdapterGeometry, name: LinearName): Widths {
  const found = widths[name];
  if (found === undefined)
    throw new MosError(
      "bad_config",
      `targets: this model has no ${name}; it has ${Object.keys(widths).join(", ")}`,
    );
  return found;
}

/** Uniform in ±1/√fanIn: Kaiming's rule with a = √5, as torch.nn.Linear and PEFT start A. */
export const kaiming =
  (length: number, fanIn: number) =>
  ({ uniform }: { uniform(): number }): Float32Array => {
    const bound = 1 / Math.sqrt(fanIn);
    return Float32Array.from({ length }, () => (2 * uniform() - 1) * bound);
  };

export const scaleOf = ({ alpha, rank }: CommonConfig): number => alpha / rank;
