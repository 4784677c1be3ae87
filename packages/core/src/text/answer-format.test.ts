import { describe, expect, test } from "vitest";
import { answerFormat, withFormat } from "./answer-format.ts";
import type { AnswerDelta } from "./answer-parser.ts";
import { CALL_SYNTAXES, TAGGED, writeCalls } from "./call-syntax.ts";
import { chatTemplate } from "./chat-template.ts";
import { createAnswerScanner } from "./detokenizer.ts";
import type { ChatMessage, FunctionTool } from "./messages.ts";

const tokenizer = {
  bosToken: undefined,
  eosTokens: [],
  idToToken: () => undefined,
  tokenToId: () => undefined,
  isSpecial: () => false,
};
const from = (template: string) => chatTemplate({ template, tokenizer });
/** A model that may reason, with words of ours for tools. */
const reasoning = from(
  "{% for m in messages %}{{ '[' + m.role + ']' + m.content.split('</think>')[-1] }}{% endfor %}{% if add_generation_prompt %}{{ '[assistant]' }}{% endif %}",
);
const noSystem = from(
  "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}{{ '[' + m.role + ']' + m.content }}{% endfor %}",
);
const formatOf = (request: Parameters<typeof answerFormat>[1], prompt = "[assistant]") =>
  answerFormat({ template: reasoning, tokenizer: tokenizer as never }, request, prompt);
const read = (format: ReturnType<typeof formatOf>, answer: string): readonly AnswerDelta[] => {
  const parser = format.parser();
  return [...parser.push(answer), ...parser.finish()];
};
const look: FunctionTool = { type: "function", name: "look_up" };
const call = '<tool_call>\n{"name": "look_up", "arguments": {}}\n</tool_call>';

describe("a format", () => {
  test("is any text without tools and forms, but reasoning is still told apart", () => {
    const format = formatOf({});
    expect(format.grammar).toBeUndefined();
    expect(read(format, "<think>a</think>b")).toEqual([
      { type: "reasoning", text: "a" },
      { type: "text", text: "b" },
    ]);
  });

  test("knows from the prompt whether reasoning has begun or has ended", () => {
    expect(read(formatOf({}, "[assistant]<think>\n"), "a</think>b")).toEqual([
      { type: "reasoning", text: "a" },
      { type: "text", text: "b" },
    ]);
    expect(read(formatOf({}, "[assistant]<think>\n\n</think>\n\n"), "<think>b")).toEqual([
      { type: "text", text: "<think>b" },
    ]);
  });

  test("reads calls as text where no tool may be called", () => {
    const format = formatOf({ tools: [look], toolChoice: { mode: "none" } });
    expect(format.grammar).toBeUndefined();
    expect(read(format, call)).toEqual([{ type: "text", text: call }]);
  });

  test("gives calls the ids that it is given", () => {
    const parser = formatOf({ tools: [look] }).parser({ nextId: () => "call_7" });
    expect(parser.push(call)[0]).toEqual({
      type: "call",
      index: 0,
      id: "call_7",
      kind: "function",
      name: "look_up",
    });
  });
});

describe("values without quotes are read by the types of tools", () => {
  const [syntax] = CALL_SYNTAXES.filter(({ name }) => name === "qwen3_5");
  const answerLayout = () => ({ ...reasoning.answerLayout(), syntax: syntax ?? TAGGED });
  const text = { template: { ...reasoning, answerLayout }, tokenizer: tokenizer as never };
  const save: FunctionTool = {
    ...{ type: "function", name: "save" },
    parameters: { type: "object", properties: { content: { type: "string" } }, uniqueItems: true },
  };
  const write = (...contents: readonly string[]): string =>
    writeCalls(
      answerLayout().syntax,
      contents.map((content) => ({ id: "", name: "save", arguments: JSON.stringify({ content }) })),
    );

  test("that the grammar does not enforce, too", () => {
    const format = answerFormat(text, { tools: [save], unenforced: new Set(["save"]) }, "[assistant]");
    expect(JSON.stringify(format.grammar)).not.toContain("uniqueItems");
    expect(read(format, write("90210"))[1]).toMatchObject({ text: '{"content": "90210"}' });
  });

  test("in the search for repeated calls, too", () => {
    const { calls } = answerFormat(text, { tools: [save] }, "[assistant]");
    const answer = write('{"a":1}', '{"a": 1}');
    const scanner = createAnswerScanner([], calls);
    expect(scanner.push(answer).text + scanner.flush()).toBe(answer);
  });
});

describe("a form of the answer is told to the model", () => {
  const asked: readonly ChatMessage[] = [{ role: "user", content: "Who?" }];
  const schema = { type: "object", properties: { name: { type: "string" } } };
  const format = { type: "json_schema", name: "person", description: "who it was", schema } as const;
  const told =
    'Answer with JSON only, which matches this JSON Schema of "person" (who it was):\n' +
    '{"type": "object", "properties": {"name": {"type": "string"}}}';

  test("in the system message, or in front of the user's where there is none", () => {
    expect(withFormat(asked, format, reasoning)).toEqual([{ role: "system", content: told }, ...asked]);
    const system: ChatMessage = { role: "system", content: "Be brief." };
    expect(withFormat([system, ...asked], format, reasoning)[0]?.content).toBe(`Be brief.\n\n${told}`);
    expect(withFormat(asked, format, noSystem)).toEqual([{ role: "user", content: `${told}\n\nWho?` }]);
  });

  test("and an object in a sentence, and text not at all", () => {
    expect(withFormat(asked, { type: "json_object" }, reasoning)[0]?.content).toBe(
      "Answer with a JSON object only.",
    );
    expect(withFormat(asked, { type: "text" }, reasoning)).toBe(asked);
    expect(withFormat(asked, undefined, reasoning)).toBe(asked);
  });
});
