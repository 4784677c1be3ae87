import type { LayerShapes } from "#adapters";

/** Layers of width 16 with grouped heads: k and v are half as wide as q, so that no two kinds of shape are alike by chance. */
export const layerShapes = (layers: number): LayerShapes => ({
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
