// Prompts of BIG-Bench Hard: open-instruct's `eval/bbh`, and lm-evaluation-harness's `bbh_cot_fewshot`.
import { strip } from "../scoring/python-text.ts";
import type { Layout } from "./layout.ts";

export interface BbhPrompt {
  /** The task's description with its three examples, as `directExamples` or the file gives them. */
  readonly prompt: string;
  readonly input: string;
}

export function openInstructBbh({ prompt, input }: BbhPrompt): Layout {
  const content = `${strip(prompt)}\n\nQ: ${input}`;
  return { messages: [{ role: "user", content }], leadIn: "A:", plain: `${content}\nA:` };
}

/** The examples without their chains of thought: a question, and what stands behind "So the answer is". */
export function directExamples(prompt: string): string {
  return prompt
    .split("\n\n")
    .map((block) => (block.startsWith("Q:") ? directExample(block) : block))
    .join("\n\n");
}

function directExample(block: string): string {
  const question = strip(block.split("\nA:", 1)[0] ?? "");
  const answer = strip(block.split("So the answer is").at(-1) ?? "");
  return `${question}\nA: ${answer}`;
}

const THINKING = "A: Let's think step by step.";

export function harnessBbh({ prompt, input }: BbhPrompt): Layout {
  // one of the 27 files goes on in the same line; the harness begins a new one in all
  const whole = strip(prompt).replaceAll(`${THINKING} `, `${THINKING}\n`);
  const begin = whole.indexOf("\n\nQ: ") + 2;
  const description = whole.slice(0, begin);
  const user = `${whole.slice(begin)}\n\nQ: ${input}\n${THINKING}\n`;
  const messages = [
    { role: "system", content: description },
    { role: "user", content: user },
  ];
  return { messages, leadIn: "", plain: description + user };
}
