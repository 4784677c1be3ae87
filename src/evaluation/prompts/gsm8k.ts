// Prompts of GSM8K: open-instruct's `eval/gsm` with chains of thought, and lm-evaluation-harness's `gsm8k_cot`.
import { pythonRandom } from "../python-random.ts";
import { strip } from "../scoring/python-text.ts";
import type { Rules } from "../types.ts";
import type { Layout } from "./layout.ts";
import { WORKED_EXAMPLES, type WorkedExample } from "./worked-examples.ts";

export interface Gsm8kPrompt {
  readonly question: string;
  readonly examples: readonly WorkedExample[];
}

/** The examples that are shown, by whose rules: open-instruct draws where it shows fewer than all. */
export function gsm8kExamples(shots: number, rules: Rules): readonly WorkedExample[] {
  if (rules === "lm-eval" || shots === WORKED_EXAMPLES.length) return WORKED_EXAMPLES.slice(0, shots);
  return pythonRandom(42)
    .sample(WORKED_EXAMPLES.length, shots)
    .flatMap((index) => WORKED_EXAMPLES[index] ?? []);
}

/** What a prompt asks, by whose rules. */
export const gsm8kLayouts: Readonly<Record<Rules, (prompt: Gsm8kPrompt) => Layout>> = {
  "open-instruct": openInstruct,
  "lm-eval": harness,
};

function openInstruct({ question, examples }: Gsm8kPrompt): Layout {
  const header = `Answer the following question${examples.length === 0 ? "" : "s"}.\n\n`;
  const shown = examples.map(
    (example) =>
      `Question: ${example.question}\nAnswer: ${example.thought} So the answer is ${example.result}.\n\n`,
  );
  const content = `${header}${shown.join("")}Question: ${strip(question)}`;
  return { messages: [{ role: "user", content }], leadIn: "Answer:", plain: `${content}\nAnswer:` };
}

function harness({ question, examples }: Gsm8kPrompt): Layout {
  const shown = examples.map(
    (example) => `Q: ${example.question}\nA: ${example.thought} The answer is ${example.result}.\n\n`,
  );
  const content = `${shown.join("")}Q: ${question}\nA:`;
  return { messages: [{ role: "user", content }], leadIn: "", plain: content };
}
