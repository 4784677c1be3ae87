import type { LayerShapes } from "#adapters";
import { randomStream } from "#common";
import { listPools } from "#models";

/** Random numbers in place of the factors of a base's weights. */
export const withFactors = <S extends LayerShapes>(shapes: S): S & Pick<LayerShapes, "singular"> => ({
  ...shapes,
  singular: {
    prepare: async () => undefined,
    get({ layer, linear }, rank) {
      const random = randomStream(9, `${layer}.${linear}`);
      const draw = (count: number) => Float32Array.from({ length: count }, () => random.normal());
      const pools = listPools(shapes, [linear]);
      const { in: width, out } = pools.find(({ layers }) => layers.includes(layer))!;
      return { a: draw(rank * width), b: draw(rank * out) };
    },
  },
});

/** Layers of width 16 with grouped heads: k and v are half as wide as q, so that no two kinds of shape are alike by chance. */
export const layerShapes = (layers: number): LayerShapes =>
  withFactors({
    layers,
    widths: {
      q_proj: { in: 16, out: 16 },
      k_proj: { in: 16, out: 8 },
      v_proj: { in: 16, out: 8 },
      o_proj: { in: 16, out: 16 },
      gate_proj: { in: 16, out: 40 },
      up_proj: { in: 16, out: 40 },
      down_proj: { in: 40, out: 16 },
    },
  });
