// A short convolution (LFM2): C ∘ conv(B ∘ x), where B, C and x are the thirds of one projection.
// C channels · K tokens that an output sees
import { depthwise, mul, split, type Value } from "mixture-of-shards-graph";
import { linearShapes, type Mixer, requireWeight } from "./mixer.ts";

export const convolution: Mixer = {
  weights: ({ hiddenSize: C, convolution: K = 1 }) => [
    ...linearShapes("conv.in_proj", [3 * C, C]),
    ["conv.conv.weight", [C, 1, K]],
    ...linearShapes("conv.out_proj", [C, C]),
  ],
  cached: ({ hiddenSize }) => [{ name: "x", heads: 1, width: hiddenSize }],
  forward:
    ({ hiddenSize: C, convolution: K = 1 }, { weights, earlier }) =>
    (x, { layer, project }) => {
      const all = project(x, "convIn").conv_in_proj as Value;
      const axis = all.shape.length - 1;
      const [before, after, input] = split(all, { axis, sizes: [C, C, C] }) as [Value, Value, Value];
      const gated = mul(before, input);
      const kernel = requireWeight(weights, `model.layers.${layer}.conv.conv.weight`);
      const seen = depthwise([...earlier(gated, { layer, count: K - 1 }), gated], kernel);
      return project(mul(after, seen), "convOut").conv_out_proj as Value;
    },
};
