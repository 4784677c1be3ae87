// What is learnt of conversations with tools: the calls and answers that the model writes, and their ends of turn.
import { describe, expect, test } from "vitest";
import { type ChatTemplate, chatTemplate, type Tool } from "#text";
import { readDataset } from "./dataset.ts";
import { encodeAnswers } from "./encode.ts";

const TOKENS = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>"];
const idToToken = (id: number): string => TOKENS[id] ?? String.fromCodePoint(id - 100);
/** One token a character, but for special tokens. */
const tokenizer = {
  vocabularySize: 100 + 0x110000,
  bosToken: undefined,
  eosTokens: [3],
  strippedBlanks: 0,
  encode: (text: string) =>
    (text.match(/<s>|<\/s>|<\|im_start\|>|<\|im_end\|>|<\/?tool_call>|./gsu) ?? []).map((piece) =>
      TOKENS.includes(piece) ? TOKENS.indexOf(piece) : 100 + (piece.codePointAt(0) ?? 0),
    ),
  decode: (ids: readonly number[]) => ids.map(idToToken).join(""),
  idToToken,
  tokenToId: (token: string) => (TOKENS.includes(token) ? TOKENS.indexOf(token) : undefined),
  isSpecial: (id: number) => id < 4,
  idToBytes: (id: number) => new TextEncoder().encode(idToToken(id)),
};

/** Calls and results as Qwen 3's template lays them out. */
const NATIVE =
  "{% if tools %}{{ '<|im_start|>system\\n<tools>' }}{% for tool in tools %}{{ '\\n' + (tool | tojson) }}{% endfor %}{{ '\\n</tools> as <tool_call>\\n{}\\n</tool_call><|im_end|>\\n' }}{% endif %}" +
  "{% for m in messages %}{% if m.role == 'tool' %}{{ '<|im_start|>user\\n<tool_response>\\n' + m.content + '\\n</tool_response><|im_end|>\\n' }}" +
  "{% else %}{{ '<|im_start|>' + m.role + '\\n' + m.content }}{% for c in m.tool_calls or [] %}{% if not loop.first or m.content %}{{ '\\n' }}{% endif %}" +
  "{{ '<tool_call>\\n{\"name\": \"' + c.function.name + '\", \"arguments\": ' + (c.function.arguments | tojson) + '}\\n</tool_call>' }}{% endfor %}{{ '<|im_end|>\\n' }}{% endif %}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

const templates: readonly (readonly [string, ChatTemplate])[] = [
  ["of its own", chatTemplate({ tokenizer, template: NATIVE })],
  ["without tools", chatTemplate({ tokenizer })],
];

const parameters = {
  type: "object",
  properties: { city: { type: "string" }, days: { type: "integer" } },
  required: ["city"],
};
const line = (...messages: readonly object[]) => ({
  messages: [{ role: "user", content: "Rome?" }, ...messages],
  tools: [{ type: "function", function: { name: "weather", parameters } satisfies Partial<Tool> }],
});
const call = (id: string, given: string | object) => ({
  id,
  function: { name: "weather", arguments: given },
});
const calling = (...tool_calls: readonly object[]) => ({ role: "assistant", content: null, tool_calls });
const result = (id: string) => ({ role: "tool", tool_call_id: id, content: "rain" });

async function read(value: unknown, template: ChatTemplate) {
  const { examples } = await readDataset([value]);
  const encoded = examples.flatMap((one) => encodeAnswers(one, { tokenizer, template, maxLength: 10_000 }));
  return encoded.map(({ ids, labels }) => ({
    text: tokenizer.decode([...ids]),
    targets: tokenizer.decode([...labels].filter((label) => label !== -100)),
  }));
}

const written = (given: string): string =>
  `<tool_call>\n{"name": "weather", "arguments": ${given}}\n</tool_call>`;

describe.each(templates)("a template %s", (_, template) => {
  test("calls are learnt with their ends of turn, also within a conversation; schemas and results are not", async () => {
    const [one, ...more] = await read(
      line(calling(call("a", '{"days":2,"city":"Rome"}')), result("a"), {
        role: "assistant",
        content: "Rain.",
      }),
      template,
    );
    expect(more).toEqual([]);
    expect(one?.targets).toBe(`${written('{"city": "Rome", "days": 2}')}<|im_end|>\nRain.<|im_end|>`);
    expect(one?.text).toContain('"integer"');
    expect(one?.text).toContain("<tool_response>\nrain\n</tool_response>");
  });

  test("arguments as an object or as text, several calls, and a last one", async () => {
    const calls = [call("a", { city: "Rome" }), call("b", '{ "city": "Oslo" }')];
    for (const content of [null, ""]) {
      const [one] = await read(line({ ...calling(...calls), content }), template);
      expect(one?.targets).toBe(`${written('{"city": "Rome"}')}\n${written('{"city": "Oslo"}')}<|im_end|>`);
    }
  });

  test("content before a call is learnt with it", async () => {
    const [one] = await read(
      line({ ...calling(call("a", { city: "Rome" })), content: "Let me see." }),
      template,
    );
    expect(one?.targets).toBe(`Let me see.\n${written('{"city": "Rome"}')}<|im_end|>`);
  });

  test("a call of weight 0 is shown, not learnt", async () => {
    const [one] = await read(
      line({ ...calling(call("a", { city: "Rome" })), weight: 0 }, result("a"), {
        role: "assistant",
        content: "Rain.",
      }),
      template,
    );
    expect(one?.text).toContain(written('{"city": "Rome"}'));
    expect(one?.targets).toBe("Rain.<|im_end|>");
  });
});

test("prompt formats without a place for tools refuse them", async () => {
  const { examples } = await readDataset([line(calling(call("a", {})))]);
  const [example] = examples;
  const [, template] = templates[0] ?? expect.fail();
  for (const promptFormat of ["chatml", "plain", "open-instruct"] as const)
    expect(() =>
      encodeAnswers(example ?? expect.fail(), { tokenizer, template, maxLength: 100, promptFormat }),
    ).toThrow(`example 1: the ${promptFormat} prompt format has no place for tools; use the template format`);
});
