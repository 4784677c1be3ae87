import { expect, test } from "vitest";
import { renderPrompt } from "./questions.ts";

const layout = (content: string, leadIn: string) => ({
  messages: [{ role: "user", content }],
  leadIn,
  plain: `plain ${content}`,
});
const says = (rendered: string) => ({
  template: {
    source: "model" as const,
    render: () => rendered,
    renderTurns: () => [],
    answerLayout: () => expect.fail("no answer is read"),
  },
});

test.each([
  ["[assistant]", "A:", "[assistant] A:"],
  ["assistant\n", "A:", "assistant\nA:"],
  ["assistant ", "A:", "assistant A:"],
  ["assistant\t", "A:", "assistant\t A:"],
  ["", "A:", " A:"],
  ["[assistant]", "", "[assistant]"],
])("a lead-in after %j", (rendered, leadIn, expected) => {
  expect(renderPrompt(layout("x", leadIn), { format: "model", text: says(rendered) })).toBe(expected);
});

test("variables reach the model's template", () => {
  const text = {
    template: {
      ...says("").template,
      render: (_: unknown, { variables = {} }: { readonly variables?: object } = {}) =>
        JSON.stringify(variables),
    },
  };
  const chatTemplateKwargs = { enable_thinking: false };
  expect(renderPrompt(layout("x", ""), { format: "model", text, chatTemplateKwargs })).toBe(
    '{"enable_thinking":false}',
  );
});

test("Tulu's tags stand around contents as they are", () => {
  const messages = [
    { role: "system", content: " s\n\n" },
    { role: "user", content: "\nu " },
  ];
  expect(renderPrompt({ messages, leadIn: "A:", plain: "" }, { format: "tulu", text: says("") })).toBe(
    "<|system|>\n s\n\n\n<|user|>\n\nu \n<|assistant|>\nA:",
  );
  expect(renderPrompt(layout("x", "A:"), { format: "none", text: says("") })).toBe("plain x");
});
