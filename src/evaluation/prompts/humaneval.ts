// Prompts of HumanEval: open-instruct's `eval/codex_humaneval`, and lm-evaluation-harness's `humaneval`.
import type { Rules } from "../types.ts";
import type { Layout } from "./layout.ts";

/** What a prompt asks, by whose rules. The function's head is repeated in the lead-in, so that its body follows. */
export const humanEvalLayouts: Readonly<Record<Rules, (prompt: string) => Layout>> = {
  "open-instruct": (prompt) => ({
    messages: [{ role: "user", content: `Complete the following python function.\n\n\n${prompt}` }],
    leadIn: `Here is the completed function:\n\n\n${prompt}`,
    plain: prompt,
  }),
  "lm-eval": (prompt) => ({ messages: [{ role: "user", content: prompt }], leadIn: "", plain: prompt }),
};
