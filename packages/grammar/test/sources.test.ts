import { describe, expect, test } from "vitest";
import { CompiledGrammar, type GrammarSource, grammarFromSource, Vocabulary } from "../src/index.ts";

/** Bytes, and an end. */
const vocabulary = Vocabulary.buildSync({
  size: 257,
  bytesOf: (id) => (id === 256 ? Uint8Array.of() : Uint8Array.of(id)),
  specialName: () => undefined,
  endTokens: [256],
});

/** A special token begins and ends with ¶. */
function toBytes(text: string): Uint8Array {
  const parts = text.split("¶").map((part) => [...Buffer.from(part)]);
  return Uint8Array.from(parts.flatMap((part, i) => (i === 0 ? part : [0xff, ...part])));
}

function matches(source: GrammarSource): (text: string) => boolean {
  const compiled = new CompiledGrammar(grammarFromSource(source), vocabulary);
  return (text) => {
    const matcher = compiled.matcher();
    return matcher.acceptBytes(toBytes(text)) && matcher.canEnd;
  };
}

/** The texts of which a source allows the first list and refuses the second. */
function expectTexts(source: GrammarSource, allowed: readonly string[], refused: readonly string[]): void {
  const isAllowed = matches(source);
  expect(allowed.filter((text) => !isAllowed(text))).toEqual([]);
  expect(refused.filter(isAllowed)).toEqual([]);
}

const text = (of: string): GrammarSource => ({ type: "text", text: of });
const sequence = (...parts: GrammarSource[]): GrammarSource => ({ type: "sequence", parts });
const anyOf = (...options: GrammarSource[]): GrammarSource => ({ type: "any_of", options });
const without = (...texts: string[]): GrammarSource => ({ type: "free_text", without: texts });
const any = (of: GrammarSource, separator?: GrammarSource): GrammarSource => ({
  type: "repeat",
  of,
  min: 0,
  ...(separator === undefined ? {} : { separator }),
});

const json: GrammarSource = {
  type: "json_schema",
  schema: {
    type: "object",
    properties: { a: { type: "integer" } },
    required: ["a"],
    additionalProperties: false,
  },
};

describe("JSON strings", () => {
  const inJson = (of: GrammarSource): GrammarSource =>
    sequence(text('{"input": '), { type: "json_string", of }, text("}"));
  const spelled = (input: string): string => `{"input": ${JSON.stringify(input)}}`;

  test("of regular languages", () => {
    const lines = inJson({ type: "regex", pattern: '(?:[a-c"]+\\n)*' });
    expectTexts(lines, ["", "a\n", '"b"\nc\n'].map(spelled), ["a", "d\n"].map(spelled));
    expectTexts(lines, [], ['{"input": "a\\u000a"}', '{"input": "a"}', '{"input": ""']);
    expectTexts(inJson(without("\\x")), ["\\y\u0001 é"].map(spelled), ["a \\x"].map(spelled));
  });

  test("of grammars that recur, and of JSON", () => {
    const nested = inJson({ type: "lark", text: 'start: "<" start* ">" | "\\"" /[^"]/ "\\""' });
    expectTexts(nested, ["<>", '<<"x"><>>', '"\n"'].map(spelled), ["<", '<"xy">', ">"].map(spelled));
    expectTexts(inJson(json), ['{"a": 1}', '{"a":12}'].map(spelled), ['{"b": 1}'].map(spelled));
    expectTexts(inJson(inJson(text('"'))), [spelled(spelled('"'))], [spelled('"')]);
  });
});

test("a schema after thoughts", () => {
  expectTexts(
    sequence(without("</think>"), text("</think>"), json),
    ['</think>{"a": 1}', '{"a": 2} <</think </think>{"a":-1}'],
    ['{"a": 1}', "</think>", '</think></think>{"a": 1}', '</think>{"a": 1} '],
  );
  expectTexts(
    sequence(text("<think>\n"), without("</think>"), text("</think>\n\n"), json),
    ['<think>\n\n</think>\n\n{"a": 1}', '<think>\nhm\n</think>\n\n{"a":1}'],
    ['<think>\n</think>\n{"a": 1}', "<think>\nhm"],
  );
});

test("text that ends where its end overlaps itself", () => {
  expectTexts(sequence(without("aa"), text("aa"), json), ['aa{"a":1}', 'baa{"a":1}'], ['a{"a":1}']);
  expectTexts(sequence(without("aa"), text("aa"), text("!")), ["aa!", "aaa!", "abaa!"], ["a!", "aaaa!"]);
});

describe("tools of which a model may choose", () => {
  const call = sequence(text('{"name": "f", "arguments": '), json, text("}\n</tool_call>"));
  const tag = text("<tool_call>\n");
  const calls = sequence(tag, call, any(sequence(text("\n"), tag, call)));
  const one = '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>';

  test("text alone, text with calls, calls alone", () => {
    const free = without("<tool_call>");
    expectTexts(
      anyOf(free, sequence(free, calls)),
      ["", "hello <tool", one, `hm ${one}`, `${one}\n${one}\n${one}`],
      ["<tool_call>", `${one}${one}`, `${one} `, `a <tool_call> ${one}`, `${one}\n`],
    );
  });

  test("calls and texts by turns", () => {
    const free = without("<tool_call>");
    expectTexts(
      sequence(any(sequence(free, tag, call)), free),
      ["", "x", one, `a${one}b${one}${one}c <tool_cal`],
      [`a${one}<tool_call>`, `${one}<tool_call>\n`],
    );
  });

  test("calls of several tools after text, and text after calls", () => {
    const free = without("<f>", "<g>");
    const f = sequence(text("<f>"), json, text("</f>"));
    const g = sequence(text("<g>"), json, text("</g>"));
    const allowed = ["", "x", '<f>{"a":1}</f>', 'x<g>{"a":1}</g>y<f>{"a":2}</f><g>{"a":3}</g>z <g'];
    const refused = ["<f>", '<f>{"a":1}</g>', 'x<g>{"a":1}</g>y<f>', "<g></g>"];
    expectTexts(sequence(free, any(sequence(anyOf(f, g), free))), allowed, refused);
    expectTexts(sequence(any(sequence(free, anyOf(f, g))), free), allowed, refused);
    expectTexts(
      sequence(free, { type: "repeat", of: anyOf(f, g), min: 1, separator: free }),
      ['a<f>{"a":1}</f>', 'a<f>{"a":1}</f>b<g>{"a":1}</g>'],
      ["", "a", '<f>{"a":1}</f>b'],
    );
  });

  test("a hundred tools after text", () => {
    const call = (i: number) => sequence(text(`<call>f${i} `), json);
    const names = Array.from({ length: 100 }, (_, i) => i);
    expectTexts(
      sequence(without("<call>"), text("<call>"), anyOf(...names.map((i) => sequence(text(`f${i} `), json)))),
      ['<call>f0 {"a":1}', 'hm <call>f99 {"a":1}'],
      ["", "hm", "<call>f7", '<call>f100 {"a":1}'],
    );
    expectTexts(
      anyOf(without("<call>"), ...names.slice(0, 20).map((i) => sequence(without("<call>"), call(i)))),
      ["", "hm", '<call>f0 {"a":1}', 'hm <call>f19 {"a":1}'],
      ["<call>f7", '<call>f20 {"a":1}'],
    );
  });

  test("a special token begins a call", () => {
    const token: GrammarSource = { type: "special_token", token: "<|tool|>" };
    const free: GrammarSource = { type: "free_text" };
    expectTexts(
      anyOf(free, sequence(free, token, json)),
      ["", "any <|tool|>", '¶<|tool|>¶{"a": 1}', 'a¶<|tool|>¶{"a": 1}'],
      ["¶<|tool|>¶", '¶<|other|>¶{"a": 1}', "¶"],
    );
  });

  test("several functions, of whose names one begins like another", () => {
    const named = (name: string) => sequence(text(`{"name": "${name}", "arguments": `), json, text("}"));
    expectTexts(
      { type: "repeat", of: anyOf(named("get"), named("get_all")), min: 1, max: 2, separator: text("; ") },
      [
        '{"name": "get", "arguments": {"a":1}}',
        '{"name": "get_all", "arguments": {"a":1}}; {"name": "get", "arguments": {"a":2}}',
      ],
      ["", '{"name": "get_", "arguments": {"a":1}}', '{"name": "get", "arguments": {"a":1}}; '],
    );
  });
});

test("grammars between tags", () => {
  const lark: GrammarSource = { type: "lark", text: "start: /(.|\\n)*/" };
  expectTexts(
    sequence(text("<x>"), lark, text("</x>"), json),
    ['<x></x>{"a":1}', '<x>a\nb</x>{"a":1}'],
    ['<x>{"a":1}', "<x></x>"],
  );
  const open: GrammarSource = { type: "lark", text: 'start: "x" /[^\\n]*/ ("\\n" /.*/)?' };
  expectTexts(
    sequence(text("<x>"), open, text("</x>"), json),
    ['<x>x</x>{"a":1}', '<x>xy\nz</x>{"a":1}'],
    ['<x>x{"a":1}', '<x>x\n\n</x>{"a":1}'],
  );
  const sums: GrammarSource = { type: "lark", text: 'start: N ("+" N)*\nN: /[0-9]+/\n%ignore " "' };
  expectTexts(
    sequence(text("<x>"), sums, text("</x>")),
    ["<x>1</x>", "<x> 1 + 23 </x>"],
    ["<x></x>", "<x>1 2</x> "],
  );
  expectTexts(sums, ["1", " 1 +23 "], ["", "1 2"]);
  const nested: GrammarSource = { type: "gbnf", text: 'root ::= "(" root ")" | [a-z]*' };
  expectTexts(sequence(nested, text(")"), json), ['(ab)){"a":1}', '){"a":1}'], ['(ab){"a":1}']);
});

test("repetitions of what is not regular", () => {
  const repeated = (min: number, max?: number, separator?: GrammarSource): GrammarSource => ({
    type: "repeat",
    of: json,
    min,
    ...(max === undefined ? {} : { max }),
    ...(separator === undefined ? {} : { separator }),
  });
  const times = (count: number, between = ""): string => Array(count).fill('{"a":1}').join(between);
  expectTexts(repeated(2, 3), [times(2), times(3)], ["", times(1), times(4)]);
  expectTexts(repeated(0, 2, text(",")), ["", times(1), times(2, ",")], [times(2), times(3, ","), ","]);
  expectTexts(repeated(2, undefined, text(",")), [times(2, ","), times(9, ",")], ["", times(1), times(2)]);
  expectTexts(repeated(0, 0, text(",")), [""], [times(1)]);
  expectTexts(repeated(1, 1, text(",")), [times(1)], ["", times(2, ",")]);
});

test("the laws of regular parts", () => {
  expectTexts(
    { type: "repeat", of: { type: "choice", choices: ["a", "bc"] }, min: 1, max: 3, separator: text(" ") },
    ["a", "a bc a"],
    ["", "a a a a", "a "],
  );
  expectTexts({ type: "regex", pattern: "\\d{2}|x" }, ["12", "x"], ["123", "y", ""]);
  expectTexts(
    { type: "json_object", whitespace: "compact" },
    ["{}", '{"a": [1, null]}'],
    ["[]", '{"a":  1}'],
  );
});
