import { expect, test } from "vitest";
import { GrammarError, type GrammarSource, literal, specialTokenBytes } from "#grammar";
import { grammarFromSource } from "./assemble.ts";

const refusal = (source: unknown): string => {
  try {
    grammarFromSource(source as GrammarSource);
  } catch (error) {
    if (error instanceof GrammarError) return `${error.code}: ${error.message}`;
    throw error;
  }
  return "accepted";
};

test("a notation is checked before it is used", () => {
  const quotes = [{ mark: "'", isEscaped: true }];
  const given = (notation: unknown) => refusal({ type: "json_schema", schema: { type: "object" }, notation });
  const name = ["", "="];
  const right = [{ quotes }, { quotes, words: { null: "None" }, members: { name, end: "", separator: "," } }];
  expect(right.map(given)).toEqual(["accepted", "accepted"]);
  for (const notation of [
    {},
    [],
    { quotes: {} },
    { quotes: [null] },
    { quotes: [{ mark: "", isEscaped: true }] },
    { quotes, isBare: 1 },
    { quotes, words: { null: 1 } },
    { quotes, members: null },
    { quotes, members: { name: ["="], end: "", separator: "," } },
    { quotes, members: { name, separator: "," } },
  ])
    expect(given(notation)).toMatch(/^bad_grammar: "notation" of the source .* must be a notation/);
});

test("parts that are regular become one lexeme", () => {
  const { lexemes, rules, start } = grammarFromSource({
    type: "sequence",
    parts: [
      { type: "text", text: "a" },
      { type: "sequence", parts: [{ type: "special_token", token: "<x>" }] },
      {
        type: "any_of",
        options: [
          { type: "text", text: "b" },
          { type: "choice", choices: ["c", "d"] },
        ],
      },
    ],
  });
  expect(lexemes).toEqual([
    {
      name: "text",
      regex: {
        type: "concat",
        parts: [
          literal("a"),
          { type: "bytes", bytes: [...specialTokenBytes("<x>")] },
          {
            type: "either",
            options: [literal("b"), { type: "either", options: [literal("c"), literal("d")] }],
          },
        ],
      },
    },
  ]);
  expect(rules[start]?.alternatives).toEqual([[{ lexeme: 0 }]]);
});

test("a lexeme is never empty", () => {
  const { rules, start } = grammarFromSource({ type: "free_text" });
  expect(rules[start]?.alternatives).toEqual([[{ lexeme: 0 }], []]);
});

test("what is wrong with a source is said by field", () => {
  expect([
    refusal(undefined),
    refusal([]),
    refusal({ type: "toString" }),
    refusal({ type: "text" }),
    refusal({ type: "text", text: 7 }),
    refusal({ type: "text", text: "a", pattern: "b" }),
    refusal({ type: "choice", choices: [] }),
    refusal({ type: "choice", choices: ["a", null] }),
    refusal({ type: "json_schema" }),
    refusal({ type: "json_object", whitespace: "wide" }),
    refusal({ type: "free_text", without: [""] }),
    refusal({ type: "special_token", token: "" }),
    refusal({ type: "sequence", parts: [{ type: "any_of", options: [{ type: "text" }] }] }),
    refusal({ type: "sequence", parts: {} }),
    refusal({ type: "any_of", options: [] }),
    refusal({ type: "repeat", of: { type: "text", text: "a" }, min: 0.5 }),
    refusal({ type: "repeat", of: { type: "text", text: "a" }, min: 3, max: 2 }),
    refusal({ type: "repeat", of: { type: "text", text: "a" }, min: 0, max: 1e9 }),
    refusal({ type: "repeat", of: null, min: 0 }),
    refusal({ type: "text", text: "\ud800" }),
    refusal({ type: "choice", choices: ["a\udc00"] }),
    refusal({ type: "json_schema", schema: { minimum: 10n } }),
    refusal({ type: "json_schema", schema: { enum: [1, undefined] } }),
    refusal({ type: "json_schema", schema: { const: Number.NaN } }),
  ]).toMatchInlineSnapshot(`
    [
      "bad_grammar: the source must be an object with a type, but is missing",
      "bad_grammar: the source must be an object with a type, but is an array",
      "bad_grammar: the source must have one of the types json_schema, json_object, regex, choice, lark, gbnf, text, special_token, free_text, json_string, sequence, any_of, repeat; its type is "toString"",
      "bad_grammar: "text" of the source of type text must be a string without lone surrogates, but is missing",
      "bad_grammar: "text" of the source of type text must be a string without lone surrogates, but is 7",
      "bad_grammar: the source of type text has no field "pattern"",
      "bad_grammar: "choices" of the source of type choice must be an array of at least one string, none with lone surrogates, but is an array",
      "bad_grammar: "choices" of the source of type choice must be an array of at least one string, none with lone surrogates, but is an array",
      "bad_grammar: "schema" of the source of type json_schema must be a JSON Schema, whose values are those of JSON, but is missing",
      "bad_grammar: "whitespace" of the source of type json_object must be "compact" or "flexible", but is "wide"",
      "bad_grammar: "without" of the source of type free_text must be an array of strings that are not empty, but is an array",
      "bad_grammar: "token" of the source of type special_token must be a string that is not empty, but is """,
      "bad_grammar: "text" of the source's parts[0].options[0] of type text must be a string without lone surrogates, but is missing",
      "bad_grammar: "parts" of the source of type sequence must be an array of sources, but is an object",
      "bad_grammar: "options" of the source of type any_of must be an array of at least one source, but is an array",
      "bad_grammar: "min" of the source of type repeat must be an integer of at least 0, but is 0.5",
      "bad_grammar: "max" of the source is 2, below its "min" of 3",
      "limit: the source is repeated 1000000000 times; at most 10000 can be counted",
      "bad_grammar: "of" of the source of type repeat must be a source, but is null",
      "bad_grammar: "text" of the source of type text must be a string without lone surrogates, but is "\\ud800"",
      "bad_grammar: "choices" of the source of type choice must be an array of at least one string, none with lone surrogates, but is an array",
      "bad_grammar: "schema" of the source of type json_schema must be a JSON Schema, whose values are those of JSON, but is an object",
      "bad_grammar: "schema" of the source of type json_schema must be a JSON Schema, whose values are those of JSON, but is an object",
      "bad_grammar: "schema" of the source of type json_schema must be a JSON Schema, whose values are those of JSON, but is an object",
    ]
  `);
});

test("sources that are too deep or too many are refused", () => {
  let deep: GrammarSource = { type: "text", text: "a" };
  for (let i = 0; i < 100_000; i++) deep = { type: "sequence", parts: [deep] };
  expect(refusal(deep)).toMatch(/^limit: .* nested more than 64 levels deep/);
  const options = Array.from({ length: 100_000 }, (): GrammarSource => ({ type: "text", text: "a" }));
  expect(refusal({ type: "any_of", options })).toMatch(/^limit: .* more than 50000 sources/);
});

test("sources that would take all of the stack are refused", () => {
  const chain = (define: (name: string, next: string) => string): string =>
    Array.from({ length: 20_000 }, (_, i) => define(`X${i}`, `X${i + 1}`)).join("\n");
  const many = (suffix: string): string => suffix.repeat(20_000);
  expect([
    refusal({ type: "lark", text: `start: "a"${many("?")}` }),
    refusal({ type: "lark", text: `start: X0\n${chain((a, b) => `${a}: ${b}`)}\nX20000: "a"` }),
    refusal({ type: "gbnf", text: `root ::= "a"${many("*")}` }),
    refusal({ type: "gbnf", text: `root ::= X0\n${chain((a, b) => `${a} ::= ${b}`)}\nX20000 ::= "a"` }),
    refusal({ type: "regex", pattern: `${many("(")}a${many(")")}` }),
  ]).toEqual(Array(5).fill(expect.stringMatching(/^limit: /)));
});
