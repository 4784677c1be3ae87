// Answers with calls, formats and reasoning: what the grammar allows is what chat templates render and what the parser reads.
import fc from "fast-check";
import { CompiledGrammar, grammarFromSource, Vocabulary } from "mixture-of-shards-grammar";
import { describe, expect, test } from "vitest";
import { type AnswerRequest, answerGrammar } from "../src/text/answer-format.ts";
import { type AnswerDelta, LayoutParser } from "../src/text/answer-parser.ts";
import { CALL_SYNTAXES, type CallSyntax, writeCalls } from "../src/text/call-syntax.ts";
import { spacedJson } from "../src/text/json-text.ts";
import type { Tool } from "../src/text/messages.ts";
import { typesIn } from "../src/text/tool-schemas.ts";

const SPECIAL = [
  ...["[TOOL_CALLS]", "[ARGS]", "<|tool_call|>", "<think>", "</think>", "<|tool_call_start|>"],
  ...["<|tool_call_end|>", "<|tool_call>", "<tool_call|>", '<|"|>'],
];
const END = 256 + SPECIAL.length;
/** A token for each byte, special tokens, and one that ends an answer. */
const vocabulary = Vocabulary.buildSync({
  size: END + 1,
  bytesOf: (id) => (id < 256 ? Uint8Array.of(id) : new Uint8Array(0)),
  specialName: (id) => SPECIAL[id - 256],
  endTokens: [END],
});

const tools: readonly Tool[] = [
  {
    type: "function",
    name: "look_up",
    parameters: {
      type: "object",
      properties: {
        q: { type: "string" },
        n: { type: "number" },
        o: { type: "object" },
        a: { type: "array" },
      },
    },
  },
  { type: "function", name: "no_args" },
  { type: "custom", name: "patch" },
  { type: "custom", name: "digits", grammar: { syntax: "regex", definition: '[0-9]+"' } },
  {
    type: "custom",
    name: "nested",
    grammar: { syntax: "lark", definition: 'start: "<" start* ">" | "\\n"' },
  },
];
const kinds = new Map(tools.map(({ name, type }) => [name, type]));
const typesOf = typesIn(tools);

interface Setting {
  readonly syntax: CallSyntax;
  /** Tags are special tokens. */
  readonly isSpecial: boolean;
}

const settings: readonly Setting[] = CALL_SYNTAXES.flatMap((syntax) => {
  const isSpecial = SPECIAL.includes(syntax.trigger);
  return [{ syntax, isSpecial }, ...(syntax.name === "gemma4" ? [{ syntax, isSpecial: false }] : [])];
});

/** Whether the grammar of a request allows answers. */
function judge(
  { syntax, isSpecial }: Setting,
  request: AnswerRequest,
  reasoning: "none" | "optional" | "open" = "none",
): (answer: string) => boolean {
  const source = answerGrammar(
    { ...request, tools: request.tools ?? tools },
    {
      layout: {
        ...{
          syntax,
          tools: "tools",
          calls: "tool_calls",
          showsContent: true,
          results: "tool",
          system: "role",
        },
        reasoning: { begin: "<think>", end: "</think>" },
      },
      tokenizer: {
        tokenToId: (token) => (SPECIAL.includes(token) ? 256 + SPECIAL.indexOf(token) : undefined),
        isSpecial: () => isSpecial,
      },
      reasoning,
    },
  );
  const grammar = new CompiledGrammar(grammarFromSource(source ?? { type: "free_text" }), vocabulary);
  return (answer) => {
    const matcher = grammar.matcher();
    for (const id of tokens(answer, isSpecial)) {
      if (!matcher.allows(id)) return false;
      matcher.accept(id);
    }
    return matcher.canEnd;
  };
}

const marks = new RegExp(`(${SPECIAL.map((one) => one.replace(/[[\]|]/g, "\\$&")).join("|")})`);
const tokens = (answer: string, isSpecial: boolean): readonly number[] =>
  answer
    .split(marks)
    .flatMap((piece) =>
      isSpecial && SPECIAL.includes(piece)
        ? [256 + SPECIAL.indexOf(piece)]
        : [...new TextEncoder().encode(piece)],
    );

const writer =
  (syntax: CallSyntax) =>
  (...calls: readonly (readonly [name: string, given: unknown])[]): string =>
    writeCalls(
      syntax,
      calls.map(([name, given]) => ({ id: "abcdefghi", name, arguments: spacedJson(given) })),
    );

const GIVEN = [
  { q: 'é "quoted" \\ \n \u0001 </tool_call> \u{1f600}' },
  {},
  { q: "", n: 1.5e-7, o: { x: { y: [] } }, a: [1, null, "z", { b: {} }] },
  { n: -0.5 },
];

describe.each(settings)("$syntax.name, tags are special tokens: $isSpecial", (setting) => {
  const { syntax } = setting;
  const write = writer(syntax);
  const calls = GIVEN.map((given) => write(["look_up", given]));
  const several = syntax.isSingle
    ? []
    : [write(["look_up", GIVEN[0]], ["no_args", {}], ["patch", { input: 'a "b"\n' }])];
  const wrong = [
    write(["other", {}]),
    write(["look_up", { further: 1 }]),
    write(["look_up", { n: "x" }]),
    write(["look_up", { o: [1] }]),
    // a text without quotes may be a number
    ...(syntax.name === "qwen3_5" ? [] : [write(["look_up", { q: 1 }])]),
    write(["no_args", { x: 1 }]),
    write(["digits", { input: '12a"' }]),
    write(["nested", { input: "<\n" }]),
    write(["look_up", {}]).slice(0, -1),
  ];
  const check = (
    allows: (answer: string) => boolean,
    right: readonly string[],
    others: readonly string[],
  ) => {
    expect(right.filter((answer) => !allows(answer))).toEqual([]);
    expect(others.filter((answer) => allows(answer))).toEqual([]);
  };

  test("calls that are demanded", () => {
    const right = [
      ...calls,
      ...several,
      write(["no_args", {}]),
      write(["digits", { input: '12"' }]),
      write(["nested", { input: "<<><\n>>" }]),
    ];
    check(judge(setting, { toolChoice: { mode: "required" } }), right, [...wrong, "", "Hi"]);
  });

  test("several calls may end with the line break that separates them", () => {
    const allows = judge(setting, { toolChoice: { mode: "required" } });
    const isLine = syntax.separator === "\n";
    expect([...calls, ...several].map((answer) => allows(`${answer}\n`))).toEqual(
      [...calls, ...several].map(() => isLine),
    );
  });

  test("one call, of one tool", () => {
    const request = { toolChoice: { mode: "required", names: ["look_up"] }, parallel: false } as const;
    const [look] = tools;
    check(judge(setting, { ...request, tools: look === undefined ? [] : [look] }), calls, [
      ...several,
      write(["no_args", {}]),
    ]);
  });

  test("text, or calls after it", () => {
    const before = syntax.trigger === "" ? [] : calls.map((call) => `Let me <see> [x] {\n\n${call}`);
    const text = ['Just text <tool_c [TOOL {"nam', "", '"name": 1'];
    const broken = syntax.trigger === "" ? [] : [`a ${syntax.trigger} b`];
    check(judge(setting, {}), [...calls, ...several, ...before, ...text], [...wrong, ...broken]);
  });

  test("reasoning before both, which may name tags as text", () => {
    const right = [...calls, "Hi", "<think>a</think>Hi", `<think>\nb {"name": <x>\n</think>\n\n${calls[0]}`];
    const others = ["<think>a", "Hi <think>", `<think>a</think>${wrong[0]}`];
    check(judge(setting, {}, "optional"), right, syntax.trigger === "" ? others.toSpliced(1, 1) : others);
    check(
      judge(setting, { toolChoice: { mode: "required" } }, "open"),
      [`\nhm\n</think>\n\n${calls[0]}`],
      [calls[0] ?? "", "a</think>b"],
    );
  });

  test("a form of the answer, after reasoning and beside calls", () => {
    const schema = { type: "object", properties: { x: { type: "integer" } }, required: ["x"] };
    check(
      judge(setting, { tools: [], responseFormat: { type: "json_schema", schema } }, "optional"),
      ['{"x": 1}', '<think>{"x</think>\n\n{"x": 12}'],
      ["<think>a</think>", '{"x": "a"}', ...calls],
    );
    // where nothing but its beginning marks a call, a schema stands for it, which has no room for Lark
    const enforceable = tools.filter(({ name }) => name !== "nested");
    check(
      judge(setting, { tools: enforceable, responseFormat: { type: "json_object" } }),
      ['{"x": 1}', ...calls, ...several],
      ["Hi"],
    );
  });

  test("names of arguments may have punctuation, but for the text that ends them", () => {
    const { members, isBare } = syntax.form?.notation ?? {};
    const end = isBare === true ? ":" : members?.name[1].trim();
    const toolWith = (...names: readonly string[]): readonly Tool[] => [
      {
        type: "function",
        name: "look_up",
        parameters: {
          type: "object",
          properties: Object.fromEntries(names.map((name) => [name, { type: "string" }])),
        },
      },
    ];
    const names = ["page[size]", "user:id", "a&b", "c++", "a,b", "a=b", "a>b"];
    for (const name of names.filter((one) => end === undefined || !one.includes(end))) {
      const answer = write(["look_up", { [name]: "5" }]);
      expect(judge(setting, { tools: toolWith(name), toolChoice: { mode: "required" } })(answer)).toBe(true);
      const read = { reasoning: "none", tags: undefined, syntax, kinds, nextId: undefined } as const;
      const reader = new LayoutParser({ ...read, typesOf: () => new Set(["string"]) });
      expect(argumentsIn(reader, answer)).toBe(spacedJson({ [name]: "5" }));
    }
    if (end !== undefined)
      expect(() => judge(setting, { tools: toolWith("a", `b${end}c`) })).toThrowError(
        `At the root of the schema, "properties" is refused: "b${end}c" needs quotes`,
      );
  });

  test("what is written for any arguments is allowed, and read as it was", () => {
    const allows = judge(setting, { toolChoice: { mode: "required" } });
    // the grammar of JSON ends exponents after two digits
    const isModest = (given: unknown): boolean => !/e[-+]\d{3}/.test(spacedJson(given));
    const isBare = syntax.form?.notation?.isBare === true;
    const text = fc.oneof(
      fc.string({ unit: "grapheme" }),
      fc.constantFrom("it's", '\\"', "\n</param", "null", "7"),
    );
    const names = isBare ? fc.stringMatching(/^[a-z][a-z0-9_]{0,5}$/) : text;
    const value: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
      value: fc.oneof(
        { maxDepth: 2 },
        fc.oneof(text, fc.boolean(), fc.constant(null), fc.double({ noNaN: true, noDefaultInfinity: true })),
        fc.array(tie("value"), { maxLength: 3 }),
        fc.dictionary(names, tie("value"), { maxKeys: 3 }),
      ),
    })).value;
    const json = fc.record(
      {
        q: text,
        n: fc.double({ noNaN: true, noDefaultInfinity: true }),
        o: fc.dictionary(names, value),
        a: fc.array(value, { maxLength: 3 }),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(json.filter(isModest), text, (given, input) => {
        const answers = [write(["look_up", given]), write(["patch", { input }])];
        expect(answers.map(allows)).toEqual([true, true]);
        const reader = () =>
          new LayoutParser({ reasoning: "none", tags: undefined, syntax, kinds, typesOf, nextId: undefined });
        const [written = "", patch] = answers.map((answer) => argumentsIn(reader(), answer));
        // members without quotes come by their names
        expect(isBare ? JSON.parse(written) : written).toEqual(
          isBare ? JSON.parse(JSON.stringify(given)) : spacedJson(given),
        );
        expect(patch).toBe(input);
      }),
      { numRuns: 15 },
    );
  });
});

const argumentsIn = (reader: LayoutParser, answer: string): string =>
  [...reader.push(answer), ...reader.finish()]
    .map((delta: AnswerDelta) => (delta.type === "arguments" ? delta.text : ""))
    .join("");
