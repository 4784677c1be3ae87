import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type AnswerDelta, type AnswerParts, LayoutParser } from "./answer-parser.ts";
import { CALL_SYNTAXES, type CallSyntax, TAGGED, writeCalls } from "./call-syntax.ts";
import { spacedJson } from "./json-text.ts";
import { ToolCallParser } from "./tool-call-parser.ts";
import { valueTypes } from "./tool-schemas.ts";

const kinds = new Map<string, "function" | "custom">([
  ["look_up", "function"],
  ['say "hi"', "function"],
  ["patch", "custom"],
]);
const parts = (syntax: CallSyntax | undefined, more: Partial<AnswerParts> = {}): AnswerParts => {
  let ids = 0;
  const typesOf = (_: string, parameter: string) => (parameter === "city" ? new Set(["string"]) : undefined);
  return { reasoning: "none", tags: undefined, syntax, kinds, typesOf, nextId: () => `id${ids++}`, ...more };
};
const tags = { begin: "<think>", end: "</think>" };

/** All deltas of the pieces, with neighbours of one kind as one. */
function read(given: AnswerParts, pieces: readonly string[]): readonly AnswerDelta[] {
  const reader = new LayoutParser(given);
  const joined: AnswerDelta[] = [];
  for (const delta of [...pieces.flatMap((piece) => reader.push(piece)), ...reader.finish()]) {
    const last = joined.at(-1);
    const isMore = last !== undefined && "text" in last && "text" in delta && last.type === delta.type;
    if (isMore) joined[joined.length - 1] = { ...delta, text: last.text + delta.text };
    else joined.push(delta);
  }
  return joined;
}

const called = (index: number, name: string, text: string): readonly AnswerDelta[] => [
  { type: "call", index, id: `id${index}`, kind: kinds.get(name) ?? "function", name },
  { type: "arguments", index, text },
  { type: "call_end", index },
];

describe.each(CALL_SYNTAXES)("$name", (syntax) => {
  const write = (calls: readonly (readonly [name: string, given: unknown])[]): string =>
    writeCalls(
      syntax,
      calls.map(([name, given], i) => ({ id: `call_${i}`, name, arguments: spacedJson(given) })),
    );
  const lead = syntax.trigger === "" ? "" : "Let me see.\n\n";
  const first = { n: [1, { x: {} }, 1.5e-7], q: 'a "b" </tool_call> ] } \\ é' };

  test("text and a call", () => {
    const text: readonly AnswerDelta[] = lead === "" ? [] : [{ type: "text", text: "Let me see." }];
    expect(read(parts(syntax), [lead + write([["look_up", first]])])).toEqual([
      ...text,
      ...called(0, "look_up", spacedJson(first)),
    ]);
  });

  test.skipIf(syntax.isSingle)("several calls", () => {
    const answer = write([
      ["look_up", {}],
      ['say "hi"', first],
      ["patch", { input: 'a\n"b" \u{1f600}' }],
    ]);
    expect(read(parts(syntax), [answer])).toEqual([
      ...called(0, "look_up", "{}"),
      ...called(1, 'say "hi"', spacedJson(first)),
      ...called(2, "patch", 'a\n"b" \u{1f600}'),
    ]);
  });

  test("a name may begin with a hyphen", () => {
    const answer = writeCalls(syntax, [{ id: "call_0", name: "-x", arguments: "{}" }]);
    expect(read(parts(syntax, { kinds: new Map([["-x", "function"]]) }), [answer])).toEqual(
      called(0, "-x", "{}"),
    );
  });

  test("however an answer is cut into pieces, the same deltas come out", () => {
    const json = fc.dictionary(fc.string({ unit: "grapheme" }), fc.jsonValue({ maxDepth: 2 }));
    const call = fc.oneof(
      fc.tuple(fc.constantFrom("look_up", 'say "hi"'), json),
      fc.tuple(fc.constant("patch"), fc.record({ input: fc.string({ unit: "grapheme" }) })),
    );
    const text = fc.stringMatching(
      /^(?:[a-c<>[\]{}|/ \n]|<tool_call|\[TOOL_|<think>|<\/think>|\{"name": "){0,8}$/,
    );
    fc.assert(
      fc.property(
        fc.record({
          thought: fc.option(text.filter((one) => !one.includes("</think>"))),
          lead: text,
          calls: fc.array(call, { maxLength: 3 }),
          length: fc.nat(),
          cuts: fc.array(fc.nat(), { maxLength: 40 }),
        }),
        ({ thought, lead, calls, length, cuts }) => {
          const answer =
            (thought === null ? "" : `<think>${thought}</think>\n\n`) +
            lead +
            (calls.length > 0 ? write(calls) : "");
          const whole = answer.slice(0, length % (2 * answer.length + 1));
          const places = [...new Set(cuts.map((cut) => cut % (whole.length + 1)))].sort((a, b) => a - b);
          const pieces = [0, ...places].map((from, i) => whole.slice(from, places[i] ?? whole.length));
          const given = () => parts(syntax, { reasoning: "optional", tags });
          const expected = read(given(), [whole]);
          expect(read(given(), pieces)).toEqual(expected);
          expect(read(given(), [...whole])).toEqual(expected);
          const shown = expected.map((one) => (one.type === "text" ? one.text : "")).join("");
          if (syntax.trigger !== "") expect(shown).not.toContain(syntax.trigger);
        },
      ),
      { numRuns: 150 },
    );
  });

  test("arguments leave before the call ends, and of a call that is cut as far as they were written", () => {
    const reader = new LayoutParser(parts(syntax));
    const answer = write([["look_up", { city: "Ulm" }]]);
    const until = answer.indexOf("Ulm");
    expect(reader.push(answer.slice(0, until))).toEqual([
      { type: "call", index: 0, id: "id0", kind: "function", name: "look_up" },
      { type: "arguments", index: 0, text: '{"city": "' },
    ]);
    expect(reader.finish()).toEqual([{ type: "call_end", index: 0, isCut: true }]);
  });
});

describe("reasoning", () => {
  const answer = "<think>\nShort.\n</think>\n\nYes.";
  const expected = [
    { type: "reasoning", text: "Short." },
    { type: "text", text: "Yes." },
  ];

  test("that the model or the prompt opens", () => {
    expect(read(parts(TAGGED, { reasoning: "optional", tags }), [answer])).toEqual(expected);
    expect(read(parts(undefined, { reasoning: "open", tags }), [answer.slice("<think>".length)])).toEqual(
      expected,
    );
  });

  test("that is cut", () => {
    expect(read(parts(undefined, { reasoning: "open", tags }), ["Sho"])).toEqual([
      { type: "reasoning", text: "Sho" },
    ]);
  });

  test("a call within it is none", () => {
    const call = writeCalls(TAGGED, [{ id: "", name: "look_up", arguments: "{}" }]);
    expect(read(parts(TAGGED, { reasoning: "open", tags }), [`${call}</think>${call}`])).toEqual([
      { type: "reasoning", text: call },
      ...called(0, "look_up", "{}"),
    ]);
  });
});

test.each(CALL_SYNTAXES)(
  "$name: an answer of calls that is cut within its first tag has no text",
  (syntax) => {
    const whole = writeCalls(syntax, [{ id: "", name: "look_up", arguments: "{}" }]);
    for (let end = 0; end < whole.indexOf("look_up"); end++) {
      const deltas = read(parts(syntax, { isAllCalls: true }), [whole.slice(0, end)]);
      expect(deltas, whole.slice(0, end)).toEqual([]);
    }
  },
);

describe("what no grammar has constrained", () => {
  test.each([
    "<tool_call>nothing",
    '<tool_call>\n{"arguments": {}}\n</tool_call>',
    "a <tool_c b",
    "a <tool_c",
  ])("%j is text", (answer) => {
    const deltas = read(parts(TAGGED), [answer]);
    expect(deltas.every(({ type }) => type === "text")).toBe(true);
    expect(read(parts(TAGGED), [...answer])).toEqual(deltas);
  });

  test("white space, further keys, and a call without arguments", () => {
    const answer = '<tool_call>{ "id": [1, "}"], "name" :"look_up" ,\n"x": 3 }</tool_call>';
    expect(read(parts(TAGGED), [answer])).toEqual(called(0, "look_up", "{}"));
  });

  test("a call after the beginning of one", () => {
    const answer = `<tool_call>{"name": "${writeCalls(TAGGED, [{ id: "", name: "look_up", arguments: "{}" }])}`;
    expect(read(parts(TAGGED), [answer])).toEqual([
      { type: "text", text: '{"name": "' },
      ...called(0, "look_up", "{}"),
    ]);
  });

  test("what stands around a tag makes no other", () => {
    for (const answer of ["<tool_call<tool_call>>", "<to<tool_call>ol_ca<tool_call>ll>!"]) {
      const text = answer.replaceAll(/<tool_call>|ll>|>$/g, "");
      expect(read(parts(TAGGED), [answer])).toEqual([{ type: "text", text }]);
      expect(read(parts(TAGGED), [...answer])).toEqual([{ type: "text", text }]);
    }
  });

  test("beginnings of calls within one another are read in linear time", () => {
    const feed = ToolCallParser.prototype.feed;
    let fed = 0;
    ToolCallParser.prototype.feed = function count(char) {
      fed++;
      return feed.call(this, char);
    };
    try {
      const [fewer = 0, more = 0] = [500, 1000].map((count) => {
        fed = 0;
        read(parts(TAGGED), ['<tool_call>{"a":['.repeat(count) + "]".repeat(2 * count)]);
        return fed;
      });
      expect(more).toBeLessThan(2.5 * fewer);
    } finally {
      ToolCallParser.prototype.feed = feed;
    }
  });

  test("all is text where there are no calls", () => {
    const answer = "<tool_call> \n";
    expect(read(parts(undefined), [answer])).toEqual([{ type: "text", text: answer }]);
  });

  test("Llama's JSON is a call only of a known tool", () => {
    const llama = CALL_SYNTAXES.find(({ name }) => name === "llama3");
    const answer = '{"name": "other", "parameters": {}}';
    expect(read(parts(llama), [answer])).toEqual([{ type: "text", text: answer }]);
  });
});

test("texts without quotes are read by the kinds that a parameter may have", () => {
  const syntax = CALL_SYNTAXES.find(({ name }) => name === "qwen3_5") ?? TAGGED;
  const node = { enum: ["a", 1] };
  const tool = {
    type: "function",
    name: "look_up",
    parameters: {
      $defs: { node: { anyOf: [{ type: "string" }, { type: "null" }] } },
      properties: {
        text: { type: "string" },
        any: {},
        node: { $ref: "#/$defs/node" },
        either: { oneOf: [{ type: "integer" }, { const: "x" }], allOf: [node, {}] },
        self: { $ref: "#/properties/self" },
      },
      additionalProperties: { type: ["boolean", "array"] },
    },
  } as const;
  const given = (values: Readonly<Record<string, string>>): unknown => {
    const members = Object.entries(values).map(
      ([key, value]) => `\n<parameter=${key}>\n${value}\n</parameter>`,
    );
    const answer = `<tool_call>\n<function=look_up>${members.join("")}\n</function>\n</tool_call>`;
    const typesOf = (_: string, parameter: string) => valueTypes(tool, parameter);
    const deltas = read(parts(syntax, { typesOf }), [answer]);
    return JSON.parse(deltas.map((delta) => (delta.type === "arguments" ? delta.text : "")).join(""));
  };
  expect(given({ text: "12", any: "12", node: "12", either: "1", self: "[1]" })).toEqual({
    ...{ text: "12", any: 12, node: "12", either: 1, self: [1] },
  });
  expect(given({ text: "null", any: '"q"', node: "None", either: "a", other: " True " })).toEqual({
    ...{ text: "null", any: '"q"', node: null, either: "a", other: true },
  });
  expect(given({ any: "[1, 'a']", other: "[True, null]" })).toEqual({ any: "[1, 'a']", other: [true, null] });
});

test.each([
  ["a reference", { $ref: "#/$defs/A", $defs: { A: { properties: { zip: { type: "string" } } } } }],
  [
    "references that escape",
    { properties: { zip: { $ref: "#/$defs/a~1b%20~0" } }, $defs: { "a/b ~": { type: "string" } } },
  ],
  ["all of several", { allOf: [{ $ref: "#" }, {}, { properties: { zip: { type: "string" } } }] }],
  ["any of several", { anyOf: [{ properties: { zip: { type: "string" } } }, { properties: { y: {} } }] }],
  ["one of several", { oneOf: [{ $ref: "#/oneOf/1" }, { properties: { zip: { enum: ["1", "2"] } } }] }],
  ["a pattern", { patternProperties: { "^z": { type: "string" } }, additionalProperties: false }],
])("the kinds of a parameter come from %s at the root", (_, parameters) => {
  const types = valueTypes({ type: "function", name: "f", parameters }, "zip");
  expect(types).toEqual(new Set(["string"]));
});

test("an anchor, and a part of several that may be anything, allow any kind", () => {
  const zip = { type: "string" };
  const open = { anyOf: [{ properties: { zip } }, { properties: { zip: {} } }] };
  for (const parameters of [{ properties: { zip: { $ref: "#z" } }, type: "object" }, open, { $ref: "#/%" }])
    expect(valueTypes({ type: "function", name: "f", parameters }, "zip")).toBeUndefined();
});
