import type { FactorMap } from "#adapters";
import { MosError } from "#core";
import {
  add,
  compile,
  type HostTensor,
  LINEAR_NAMES,
  leaf,
  matmul,
  moduleKey,
  modulePath,
  type SessionOptions,
} from "#graph";
import { type ModelConfig, toLayerShapes } from "#models";

export interface MergeOptions {
  readonly config: ModelConfig;
  readonly adapter: FactorMap;
  readonly session: SessionOptions;
}

/**
 * Puts W + scale · B A in the place of every weight that an adapter touches; the old arrays stay as they are.
 *
 * @throws MosError "bad_option" where such a weight is not float32.
 */
export async function mergeAdapter(
  weights: Record<string, HostTensor>,
  { config, adapter, session: options }: MergeOptions,
): Promise<void> {
  const { layers, widths } = toLayerShapes(config);
  for (const linear of LINEAR_NAMES) {
    const { in: width, out } = widths[linear];
    const delta = matmul(leaf("b", ["rank", out]), leaf("a", ["rank", width]), { transposeA: true });
    const sum = add(leaf("w", [out, width]), delta);
    // one program serves the layers, so that no more than one of them is held twice
    await using program = await compile({ sum }, options);
    for (let layer = 0; layer < layers; layer++) {
      const factors = adapter.get(moduleKey({ layer, linear }));
      if (factors === undefined) continue;
      const { rank, scale } = factors;
      const name = `${modulePath({ layer, linear })}.weight`;
      const w = weights[name];
      if (!(w?.data instanceof Float32Array))
        throw new MosError("bad_option", `${name} is not float32, so no adapter can be merged into it`);
      const merged = await program.run({
        w,
        a: { shape: [rank, width], data: factors.a },
        b: { shape: [rank, out], data: factors.b.map((x) => x * scale) },
      });
      weights[name] = merged["sum"] as HostTensor;
    }
  }
}
