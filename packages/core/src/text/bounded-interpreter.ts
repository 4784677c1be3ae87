// Templates are programs of whoever made the model's file. This counts what a template does, so that it ends.
import { type Environment, Interpreter } from "@huggingface/jinja";
import { pythonStrip, type StripSide } from "./python-strip.ts";

/** A conversation of 10,000 turns takes about half of these, and all of them take about a second. */
export const MAX_STEPS = 500_000;

/** Characters, or items of a list, that are worth a step where a text or a list is passed on, or made. */
const [PASSED, MADE] = [256, 64];
/** A turn of a loop is worth more, even if nothing is in it. */
const ITERATION_COST = 8;
/** The longest text, in characters. */
const MAX_TEXT_LENGTH = 1 << 26;

/** Expressions that make a text or a list. */
const MAKERS: ReadonlySet<string> = new Set(["CallExpression", "FilterExpression", "ArrayLiteral"]);

/** Cost of an expression whose value is a text or a list; `isLooped`: a loop runs over it. */
function computeCost({ type }: Expression, value: string | readonly unknown[], isLooped: boolean): number {
  const { length } = value;
  const parts = Math.floor(length / (MAKERS.has(type) ? MADE : PASSED));
  if (typeof value === "string") return parts;
  if (isLooped) return ITERATION_COST * length;
  if (MAKERS.has(type)) return length;
  return type === "Identifier" ? 0 : parts;
}

/** Operators that write a list as a text where the other operand is one. */
const WRITERS: ReadonlySet<unknown> = new Set(["~", "+", "==", "!="]);

/** Operands whose whole content the interpreter may write as a text. */
function writtenBy({ type, operand, filter, operator, left, right }: Partial<Expression> = {}) {
  const name = filter?.callee?.value ?? filter?.value;
  if (type === "FilterExpression") return name === "tojson" || name === "join" ? [operand] : [];
  return type === "BinaryExpression" && WRITERS.has(operator?.value) ? [left, right] : [];
}

/** Counts all that is in a list or an object before it becomes a text: it may have one part many times. */
function spendNodes({ value }: Value, spend: (cost: number) => void, isWithin = false): void {
  if (isWithin) spend(typeof value === "string" ? 1 + value.length / MADE : 1);
  if (value instanceof Map) for (const key of value.keys()) spend(key.length / MADE);
  if (value instanceof Map || Array.isArray(value))
    for (const one of value.values()) spendNodes(one, spend, true);
}

/** An interpreter that throws where a template takes more than `MAX_STEPS` steps, or makes a huge text. */
export function boundedInterpreter(environment: Environment): Interpreter {
  const interpreter = new Interpreter(environment);
  let steps = 0;
  const spend = (cost: number): void => {
    steps += cost;
    if (steps > MAX_STEPS)
      throw new Error(
        `more than ${MAX_STEPS} steps; it may not terminate, or the conversation is too long for it`,
      );
  };
  const evaluate: Evaluate = withLiterals(evaluateLikePython(interpreter, spend));
  const [looped, written] = [new Set<unknown>(), new Set<unknown>()];
  const counted: Evaluate = (expression, scope) => {
    if (expression?.type === "For") looped.add(expression.iterable);
    for (const operand of writtenBy(expression)) written.add(operand);
    const result = evaluate(expression, scope);
    if (written.has(expression)) spendNodes(result, spend);
    const { value } = result;
    if (typeof value === "string" && value.length > MAX_TEXT_LENGTH)
      throw new Error(`its output exceeds ${MAX_TEXT_LENGTH} characters`);
    spend(1);
    if (expression !== undefined && (typeof value === "string" || Array.isArray(value)))
      spend(computeCost(expression, value, looped.has(expression)));
    return result;
  };
  interpreter.evaluate = counted;
  return interpreter;
}

// Differences of the interpreter from Jinja in Python: a text must be rendered as it was when the model was trained.

/** The fields of a template's expression that are read here. */
interface Expression {
  readonly type: string;
  /** A name, or a text. */
  readonly value?: unknown;
  /** Iterable of a loop. */
  readonly iterable?: unknown;
  /** `object.property`, or `object[property]`, which is `computed`. */
  readonly object?: Expression;
  readonly property?: Expression;
  readonly computed?: boolean;
  /** `| filter`, whose name is the callee's where it has arguments. */
  readonly filter?: Expression;
  readonly callee?: Expression;
  readonly args?: readonly Expression[];
  /** Operand of a filter. */
  readonly operand?: Expression;
  /** Operands of an operator. */
  readonly left?: Expression;
  readonly right?: Expression;
  readonly operator?: { readonly value: string };
  /** Statements within one. */
  readonly body?: readonly Expression[];
  readonly alternate?: readonly Expression[];
  readonly defaultBlock?: readonly Expression[];
}

/** Result of an expression. */
interface Value {
  readonly type: string;
  value: unknown;
  readonly builtins: ReadonlyMap<string, Value>;
  toString(): string;
}

/** The interpreter's way from an expression to its value. */
type Evaluate = (expression: Expression | undefined, scope: unknown) => Value;

/**
 * `interpreter.evaluate`, with Python's strip methods, undefined attributes in `selectattr`, and values other than texts printed,
 * joined by `~`, and taken by filters of texts, as Python does.
 */
function evaluateLikePython(interpreter: Interpreter, spend: (cost: number) => void): Evaluate {
  const evaluate: Evaluate = interpreter.evaluate.bind(interpreter);
  const asText = (value: string, scope: unknown): Value => evaluate({ type: "StringLiteral", value }, scope);
  const textFilter = (name: unknown, operand: Value, scope: unknown): Value =>
    asText(TEXT_FILTERS.get(name)?.(pythonText(operand)) ?? "", scope);
  const filtered = (expression: Expression, scope: unknown): Value => {
    const { value: name, callee, args: [mapped] = [] } = expression.filter ?? {};
    const isMap = callee?.value === "map" && TEXT_FILTERS.has(mapped?.value);
    if (!isMap && !TEXT_FILTERS.has(name)) return evaluate(withUndefined(expression), scope);
    const operand: Value = interpreter.evaluate(expression.operand, scope);
    spendNodes(operand, spend);
    if (!isMap) return textFilter(name, operand, scope);
    if (!Array.isArray(operand.value)) throw new Error(`map takes a list, not ${operand.type}`);
    const value = operand.value.map((one: Value) => textFilter(mapped?.value, one, scope));
    return Object.assign(evaluate({ type: "ArrayLiteral", value: [] }, scope), { value });
  };
  const evaluateOne: Evaluate = (expression, scope) => {
    if (expression?.type === "FilterExpression") return filtered(expression, scope);
    if (expression?.type === "BinaryExpression" && expression.operator?.value === "~") {
      const operands = [expression.left, expression.right].map((one) => interpreter.evaluate(one, scope));
      return asText(operands.map((one: Value) => pythonText(one)).join(""), scope);
    }
    const side =
      expression?.type === "MemberExpression" && !expression.computed && expression.property?.value;
    if (side !== "strip" && side !== "lstrip" && side !== "rstrip") return evaluate(expression, scope);
    const text: Value = interpreter.evaluate(expression?.object, scope);
    const method = text.type === "StringValue" ? text.builtins.get(side) : undefined;
    return method === undefined ? evaluate(expression, scope) : stripMethod(method, text, side);
  };
  const printed = new Set<Expression | undefined>();
  return (expression, scope) => {
    for (const one of statementsIn(expression)) if (!SILENT.has(one.type)) printed.add(one);
    const value = evaluateOne(expression, scope);
    if (!printed.has(expression) || !PRINTED_OTHERWISE.has(value.type)) return value;
    spendNodes(value, spend);
    return asText(pythonText(value), scope);
  };
}

const capitalized = ([first = "", ...rest]: string): string =>
  first.toUpperCase() + rest.join("").toLowerCase();

/** Filters that take any value as a text. */
const TEXT_FILTERS: ReadonlyMap<unknown, (text: string) => string> = new Map([
  ["string", (text) => text],
  ["trim", (text) => pythonStrip(text, { side: "strip" })],
  ["upper", (text) => text.toUpperCase()],
  ["lower", (text) => text.toLowerCase()],
  ["capitalize", capitalized],
  ["title", (text) => text.replace(/[^-\s({[<]+/g, capitalized)],
]);

/** The statements directly within one. */
const statementsIn = ({ body = [], alternate = [], defaultBlock = [] }: Partial<Expression> = {}) => [
  ...body,
  ...alternate,
  ...defaultBlock,
];

/** Statements that print nothing. */
const SILENT: ReadonlySet<string> = new Set(["Set", "Macro", "Comment", "Break", "Continue"]);
/** Values that the interpreter prints as JSON, and null not at all. */
const PRINTED_OTHERWISE: ReadonlySet<string> = new Set([
  ...["NullValue", "BooleanValue", "ArrayValue", "TupleValue", "ObjectValue"],
]);

/** A value as Python prints it; within another one, a text has quotes. */
function pythonText(given: Value, isWithin = false): string {
  const { type, value } = given;
  const within = (one: Value): string => pythonText(one, true);
  if (type === "NullValue") return "None";
  if (type === "BooleanValue") return value === true ? "True" : "False";
  if (type === "UndefinedValue") return "";
  if (type === "StringValue") return isWithin ? pythonQuoted(String(value)) : String(value);
  if (Array.isArray(value)) {
    const items = value.map(within).join(", ");
    return type === "TupleValue" ? `(${items})` : `[${items}]`; // the parser knows no tuples of one
  }
  if (!(value instanceof Map)) return given.toString();
  return `{${Array.from(value, ([key, one]) => `${pythonQuoted(key)}: ${within(one)}`).join(", ")}}`;
}

const ESCAPES: ReadonlyMap<string, string> = new Map([
  ["\\", "\\\\"],
  ["\n", "\\n"],
  ["\r", "\\r"],
  ["\t", "\\t"],
  [" ", " "],
]);

/** A text as Python's `repr` has it; marks of numbers (json-text.ts) stay. */
function pythonQuoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const content = text.replace(/[\p{C}\p{Z}\\'"]/gu, (char) => {
    if (char === "'" || char === '"') return char === quote ? `\\${char}` : char;
    const code = char.codePointAt(0) ?? 0;
    const hex = (letter: string, digits: number): string =>
      `\\${letter}${code.toString(16).padStart(digits, "0")}`;
    if (code === 0xe0f7) return char;
    return ESCAPES.get(char) ?? (code < 0x100 ? hex("x", 2) : code < 0x10000 ? hex("u", 4) : hex("U", 8));
  });
  return quote + content + quote;
}

/** Texts of a template are made once: for each, the interpreter makes a map of methods, which costs it most of its time. */
function withLiterals(evaluate: Evaluate): Evaluate {
  const literals = new Map<Expression, Value>();
  return (expression, scope) => {
    if (expression?.type !== "StringLiteral") return evaluate(expression, scope);
    const known = literals.get(expression);
    if (known !== undefined) return known;
    const made = evaluate(expression, scope);
    literals.set(expression, made);
    return made;
  };
}

/** The interpreter's own methods look at no argument. */
function stripMethod(method: Value, text: Value, side: StripSide): Value {
  const own = method.value as () => Value;
  // the text may be a template's own, which is asked again
  const value = ([given]: readonly (Value | undefined)[]) => {
    if (given !== undefined && given.type !== "StringValue" && given.type !== "NullValue")
      throw new Error(`${side}() takes a string, not ${given.type}`);
    const chars = given?.type === "StringValue" ? String(given.value) : undefined;
    return Object.assign(own(), { value: pythonStrip(String(text.value), { chars, side }) });
  };
  return Object.assign(Object.create(method), { value });
}

const OPPOSITE: ReadonlyMap<unknown, string> = new Map([
  ["selectattr", "rejectattr"],
  ["rejectattr", "selectattr"],
]);

/** To the interpreter no test of a missing attribute is true; so what is undefined is asked for as what is not defined. */
function withUndefined(expression: Expression): Expression {
  const { filter } = expression;
  const { callee, args: [name, test] = [] } = filter ?? {};
  const opposite = OPPOSITE.get(callee?.value);
  if (!filter || !callee || !name || test?.value !== "undefined" || opposite === undefined) return expression;
  const args = [name, { ...test, value: "defined" }];
  return { ...expression, filter: { ...filter, callee: { ...callee, value: opposite }, args } };
}
