// Chat templates of the families with tools, beside transformers' texts of the same templates (scripts/verify/tool_templates.py).
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { writeCalls } from "../src/text/call-syntax.ts";
import type { ChatMessage } from "../src/text/messages.ts";
import { conversations, readTemplates, TOOL_TEMPLATES, tools } from "./tool-conversations.ts";

interface Rendered {
  readonly name: string;
  readonly conversation: number;
  readonly text?: string;
}

const rendered: readonly Rendered[] = JSON.parse(readFileSync(join(TOOL_TEMPLATES, "rendered.json"), "utf8"));
const templates = readTemplates();
const template = (name: string) => templates.get(name) ?? expect.fail(`no template ${name}`);
const refusal = (message: RegExp) => expect.objectContaining({ message: expect.stringMatching(message) });

test.each(rendered)(
  "$name lays out conversation $conversation as transformers does",
  ({ name, conversation, text }) => {
    const messages = conversations[conversation] ?? [];
    const addGenerationPrompt = messages.at(-1)?.role !== "assistant";
    const render = () => template(name).render(messages, { tools, addGenerationPrompt });
    if (text === undefined) expect(render).toThrowError(refusal(/one call at once/));
    else expect(render()).toBe(text);
  },
);

describe.each([...templates.keys()])("%s", (name) => {
  const user: ChatMessage = { role: "user", content: "asks" };
  const calling: ChatMessage = {
    role: "assistant",
    content: "",
    toolCalls: [
      { type: "function", id: "call_of_any_length", name: "get_time", arguments: '{"zone":"CET"}' },
    ],
  };
  const result: ChatMessage = { role: "tool", toolCallId: "call_of_any_length", content: "half past ten" };
  const talk = [user, calling, result, { role: "assistant", content: "Half past ten." }];
  const written = writeCalls(template(name).answerLayout().syntax, [
    { id: "call_of_any_length", name: "get_time", arguments: '{"zone": "CET"}' },
  ]);

  test("schemas, calls and results are in the text", () => {
    const text = template(name).render([{ role: "system", content: "is brief" }, ...talk.slice(0, 3)], {
      tools,
    });
    const expected = ["is brief", "asks", "get_weather", "days", written, "half past ten"];
    expect(expected.filter((one) => !text.includes(one))).toEqual([]);
  });

  test("a call and an answer are what the model writes, with their ends of turn", () => {
    // the reasoning of Qwen 3, even where there is none, is in the last answer only
    const pieces = template(name).renderTurns(talk.slice(0, 2), { tools, lastOnly: true });
    const joined = pieces.map(({ text }) => text).join("");
    expect(
      template(name)
        .render(talk.slice(0, 2), { tools })
        .replace(/<eos>$/, ""),
    ).toBe(joined.replace(/<eos>$/, ""));
    const [answer, ...others] = pieces.flatMap(({ text, isAnswer }) => (isAnswer ? [text] : []));
    expect(others).toEqual([]);
    expect(answer?.startsWith(written) || answer?.endsWith(`\n\n${written}<|im_end|>`)).toBe(true);
    const end = answer?.slice(answer.indexOf(written) + written.length);
    expect(end).toMatch(/^<[a-z_|]+>\s*$/);
  });

  test("both answers of a conversation are located", () => {
    if (["qwen3", "qwen3_5", "mistral_nemo"].includes(name)) return; // these lay earlier turns out anew
    const answers = template(name)
      .renderTurns(talk, { tools })
      .flatMap(({ text, isAnswer }) => (isAnswer ? [text] : []));
    expect(answers.map((text) => text.trim())).toEqual([
      expect.stringContaining(written),
      expect.stringMatching(/^Half past ten\.<[a-z_|]+>$/),
    ]);
  });

  test("arguments that are no object are refused by the number of their message", () => {
    for (const text of ['{"zone": "C', "[1]", '"x"'])
      expect(() =>
        template(name).render([user, { ...calling, toolCalls: [{ ...toolCall, arguments: text }] }, result]),
      ).toThrowError(refusal(/^message 2: the arguments of the call of "get_time" are no JSON object: /));
  });

  const toolCall = { type: "function", id: "call_of_any_length", name: "get_time", arguments: "" } as const;

  test("a call without arguments, and one of a custom tool", () => {
    const custom = { type: "custom", id: "call00002", name: "patch", input: 'a "b"\n' } as const;
    for (const [call, given] of [
      [toolCall, "{}"],
      [custom, '{"input": "a \\"b\\"\\n"}'],
    ] as const) {
      const answer: ChatMessage = { ...calling, toolCalls: [call] };
      const text = template(name).render([user, answer, { ...result, toolCallId: call.id }], {
        tools: [...tools, { type: "custom", name: "patch", description: "patches" }],
      });
      const { syntax } = template(name).answerLayout();
      expect(text).toContain(writeCalls(syntax, [{ id: call.id, name: call.name, arguments: given }]));
      expect(text).toContain("patches");
    }
  });
});

test("how templates lay tools out", () => {
  const layouts = [...templates].map(([name, one]) => {
    const { syntax, tools: schemas, calls, results, system, reasoning } = one.answerLayout();
    return [
      name,
      syntax.name,
      schemas,
      calls,
      results,
      system,
      reasoning === undefined ? "" : "reasons",
    ].join(" ");
  });
  expect(layouts).toEqual([
    "gemma2 hermes text content text first_user ",
    "gemma3 hermes text content text role ",
    "gemma4 gemma4 tools tool_calls tool role reasons",
    "granite3 granite3 tools content tool role reasons",
    "granite3_0 granite3 tools content tool_response role ",
    "granite4 hermes tools tool_calls tool role ",
    "lfm2 lfm2 tools tool_calls tool role reasons",
    "llama3_2 llama3 tools tool_calls tool role ",
    "ministral3 mistral-v13 tools tool_calls tool role reasons",
    "mistral_nemo mistral tools tool_calls tool last_user ",
    "olmo2 hermes text content text role ",
    "phi3_5 hermes text content text role ",
    "phi4_mini phi4-mini system_tools content tool role ",
    "qwen2_5 hermes tools tool_calls tool role ",
    "qwen3 hermes tools tool_calls tool role reasons",
    "qwen3_5 qwen3_5 tools tool_calls tool role reasons",
    "smollm3 hermes xml_tools content tool role reasons",
  ]);
});
