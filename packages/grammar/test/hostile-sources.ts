import type { GrammarSource } from "../src/index.ts";

type Schema = unknown;

const nested = (depth: number, wrap: (inner: Schema) => Schema): Schema => {
  let schema: Schema = { type: "string" };
  for (let i = 0; i < depth; i++) schema = wrap(schema);
  return schema;
};

const range = <T>(count: number, make: (i: number) => T): T[] =>
  Array.from({ length: count }, (_, i) => make(i));

/** Definitions of which each refers to the next twice. */
const doubling = (depth: number, join: (one: Schema, other: Schema) => Schema): Schema => ({
  $defs: Object.fromEntries([
    ...range(depth, (i) => {
      const next = { $ref: `#/$defs/d${i + 1}` };
      return [`d${i}`, join(next, next)] as const;
    }),
    [`d${depth}`, { type: "integer" }],
  ]),
  $ref: "#/$defs/d0",
});

const KEYWORDS = ["allOf", "anyOf", "oneOf"] as const;
const DEPTHS = [64, 300, 1000, 20_000];

const deep: readonly Schema[] = DEPTHS.flatMap((depth) => [
  nested(depth, (a) => ({ type: "object", properties: { a }, required: ["a"] })),
  nested(depth, (items) => ({ type: "array", items })),
  nested(depth, (items) => ({ items })),
  nested(depth, (schema) => ({ not: schema })),
  nested(depth, (a) => ({ type: "object", patternProperties: { "^a": a } })),
  ...KEYWORDS.map((keyword) => nested(depth, (schema) => ({ [keyword]: [schema, { maxLength: 5 }] }))),
  nested(depth, (schema) => ({ if: { type: "string" }, else: schema })),
]);

const exponential: readonly Schema[] = [10, 20, 40, 60].flatMap((depth) => [
  ...KEYWORDS.map((keyword) => doubling(depth, (a, b) => ({ [keyword]: [a, b] }))),
  doubling(depth, (a, b) => ({ type: "object", properties: { a, b }, required: ["a", "b"] })),
  doubling(depth, (a, b) => ({ type: "array", prefixItems: [a, b], items: false, minItems: 2 })),
  doubling(depth, (a, b) => ({
    oneOf: [
      { type: "object", properties: { a } },
      { type: "array", items: b },
    ],
  })),
]);

const counts: readonly Schema[] = [1e3, 1e5, 1e7, 1e9].flatMap((n) => [
  { type: "string", maxLength: n },
  { type: "string", minLength: n },
  { type: "string", minLength: n, maxLength: n + 1, pattern: "^[a-z]*$" },
  { type: "string", pattern: `^(ab?){0,${n}}$` },
  { type: "array", items: { type: "integer" }, maxItems: n },
  { type: "array", items: { type: "integer" }, minItems: n },
  { type: "array", items: { enum: [1, 2] }, minItems: n, uniqueItems: true },
  { type: "object", minProperties: n },
  { type: "object", maxProperties: n },
  { type: "integer", minimum: -n, maximum: n },
  { type: "number", minimum: 1 / n, maximum: n, multipleOf: 1 / n },
]);

const PATTERNS = [
  "(a|a)*",
  "(a*)*b",
  "((a*)*)*$",
  "^(a|aa)+$",
  "(x{0,1000}){0,1000}",
  "((x{1,100}){1,100}){1,100}",
  "[\\s\\S]{100000}",
  ".*a.{20}$",
  "(.*a.{12}){12}",
  `^${"(".repeat(5000)}${")".repeat(5000)}$`,
  `^${"(?:a|".repeat(500)}b${")".repeat(500)}$`,
  "a".repeat(1_000_000),
  "(?=.*a)(?=.*b)(?=.*c)(?=.*d)(?=.*e)(?=.*f)(?=.*g).{20}",
  "(?!.*(ab|ba){5})[ab]*",
  "^(?=(?=(?=(?=a))))a",
  "(?<=a+)b",
  "(a)\\1",
  "\\p{L}{1,500}\\p{Lu}{1,500}",
  "[",
  "(",
  "a{2,1}",
  "\\",
  "[\\d-z]",
  "(?<n>a)\\k<n>",
];

const patterns: readonly Schema[] = [
  ...PATTERNS.map((pattern) => ({ type: "string", pattern })),
  ...range(8, (i) => ({ allOf: range(4 * i + 4, (j) => ({ type: "string", pattern: `a.{${j}}b` })) })),
  { type: "object", patternProperties: Object.fromEntries(range(200, (i) => [`a.{${i}}b`, { minimum: i }])) },
  { type: "object", propertyNames: { pattern: "(a*)*b", maxLength: 1e6 } },
];

const cycles: readonly Schema[] = [
  { $ref: "#" },
  { $defs: { a: { $ref: "#/$defs/b" }, b: { $ref: "#/$defs/a" } }, $ref: "#/$defs/a" },
  { allOf: [{ $ref: "#" }] },
  { anyOf: [{ $ref: "#" }, { type: "integer" }] },
  { not: { $ref: "#" } },
  JSON.parse('{"if": {"$ref": "#"}, "then": {"$ref": "#"}}'),
  { type: "array", items: { $ref: "#" }, minItems: 1 },
  { type: "object", properties: { a: { $ref: "#" } }, required: ["a"] },
  { type: "object", additionalProperties: { $ref: "#" }, minProperties: 1 },
  { $dynamicAnchor: "a", $dynamicRef: "#a" },
  { $ref: "#/$defs/missing" },
  { $ref: "https://example.com/schema" },
  {
    oneOf: [
      { type: "array", items: { $ref: "#" } },
      { type: "array", items: { $ref: "#" }, minItems: 2 },
    ],
  },
];

const strings = (count: number): readonly string[] => range(count, (i) => `value ${i} ${(i * 7919) % 1000}`);

const large: readonly Schema[] = [
  { enum: strings(10_000) },
  { enum: strings(150_000) },
  { const: "x".repeat(4_000_000) },
  { enum: [range(20_000, (i) => ({ i }))] },
  { type: "object", properties: Object.fromEntries(strings(5000).map((name) => [name, { type: "string" }])) },
  { type: "object", required: strings(5000) },
  {
    type: "object",
    properties: Object.fromEntries(strings(2000).map((name) => [name, {}])),
    required: strings(2000),
  },
  { anyOf: range(3000, (i) => ({ type: "object", properties: { kind: { const: i } }, required: ["kind"] })) },
  { oneOf: range(1000, (i) => ({ type: "object", properties: { [`a${i}`]: { type: "integer" } } })) },
  { allOf: range(1000, (i) => ({ type: "object", properties: { [`a${i}`]: { type: "integer" } } })) },
  { allOf: range(12, (i) => ({ anyOf: range(4, (j) => ({ properties: { [`a${i}`]: { const: j } } })) })) },
  { allOf: range(20, (i) => ({ oneOf: [{ multipleOf: i + 2 }, { minimum: i }] })) },
  { type: "array", prefixItems: range(5000, (i) => ({ const: i })) },
  { type: "array", contains: { type: "integer" }, minContains: 1e6 },
  { type: "object", dependentRequired: Object.fromEntries(range(40, (i) => [`a${i}`, [`a${i + 1}`]])) },
  { type: "object", properties: Object.fromEntries(range(40, (i) => [`a${i}`, {}])), minProperties: 20 },
];

const wrong: readonly Schema[] = [
  ...[null, 5, "x", [], true, false],
  { type: 7 },
  { type: ["string", "strange"] },
  { properties: [] },
  { required: "a" },
  { enum: [] },
  { maxLength: -1 },
  { maxLength: "many" },
  { minimum: "1" },
  { multipleOf: 0 },
  { pattern: 3 },
  { items: "x" },
  { anyOf: [] },
  { anyOf: {} },
  { $ref: 7 },
  { $defs: 3, $ref: "#/$defs/x" },
  JSON.parse(
    '{"type": "object", "properties": {"__proto__": {"type": "string"}}, "required": ["__proto__"]}',
  ),
  { type: "object", properties: { constructor: { type: "string" }, toString: {} } },
  { type: "string", format: "unheard-of" },
  { type: "number", minimum: 1e308, exclusiveMinimum: 1e308 },
  { type: "integer", minimum: 5, maximum: 4 },
  { multipleOf: 1e-300 },
  { type: "string", minLength: 5, maxLength: 4 },
];

const schemas = [...deep, ...exponential, ...counts, ...patterns, ...cycles, ...large, ...wrong];

const tools = (count: number): GrammarSource => ({
  type: "any_of",
  options: range(count, (i) => ({
    type: "sequence",
    parts: [
      { type: "free_text", without: ["<call>"] },
      { type: "text", text: `<call>{"name": "tool_${i}", "arguments": ` },
      {
        type: "json_schema",
        schema: {
          type: "object",
          properties: Object.fromEntries(range(5, (j) => [`p${j}_${i}`, { type: "string" }])),
        },
      },
      { type: "text", text: "}</call>" },
    ],
  })),
});

const repeats = (depth: number, of: GrammarSource): GrammarSource =>
  depth === 0 ? of : { type: "repeat", of: repeats(depth - 1, of), min: 1, max: 10_000 };

const others: readonly GrammarSource[] = [
  tools(100),
  tools(1000),
  repeats(5, { type: "text", text: "a" }),
  repeats(5, { type: "json_object" }),
  { type: "free_text", without: strings(20_000) },
  { type: "regex", pattern: "((a*)*)*" },
  { type: "lark", text: `start: ${"(".repeat(190)}"a"${")*".repeat(190)}` },
  { type: "lark", text: `start: A~10000\nA: "a"~10000` },
  {
    type: "lark",
    text: `start: x0\n${range(60, (i) => `x${i}: x${i + 1} x${i + 1} |`).join("\n")}\nx60: "a" |`,
  },
  { type: "lark", text: `start: T0\n${range(60, (i) => `T${i}: T${i + 1} T${i + 1}`).join("\n")}\nT60: "a"` },
  { type: "lark", text: `start: ${range(50_000, (i) => `"w${i}"`).join(" | ")}` },
  { type: "lark", text: "start: start start | start |" },
  { type: "gbnf", text: 'root ::= root root root | "a"* | ' },
  { type: "gbnf", text: `root ::= ${range(20_000, (i) => `"w${i}"`).join(" | ")} | "(" root ")"` },
  {
    type: "gbnf",
    text: `root ::= x0 | "(" root\n${range(60, (i) => `x${i} ::= x${i + 1} x${i + 1} |`).join("\n")}\nx60 ::= "a"`,
  },
  { type: "gbnf", text: "root ::= [a-z]{10000} root{0,10000}" },
];

/** Sources that take much time, memory or stack where nothing limits them, and others that are plainly wrong. */
export const HOSTILE_SOURCES: readonly GrammarSource[] = [
  ...schemas.map((schema): GrammarSource => ({ type: "json_schema", schema })),
  ...others,
];
