// The add-on of mos: evaluation, scores, and the paper's tables.
import type { AddOn } from "mixture-of-shards/kit";

export const addOn: AddOn = {
  commands: {
    eval: () => import("./commands/eval.ts"),
    score: () => import("./commands/score.ts"),
    reproduce: () => import("./commands/reproduce.ts"),
  },
};
