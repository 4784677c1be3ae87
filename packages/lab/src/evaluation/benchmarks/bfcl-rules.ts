// The rules by which the Berkeley Function Calling Leaderboard compares calls with possible answers, for functions in Python's types.
// They come from a checker in Python, whose comparisons count: 1 is 1.0 and true, but a parameter of type integer takes no 1.0.
import { MosError } from "mixture-of-shards";
import { z } from "zod";

/** A number that JSON writes with a point or an exponent, which Python reads as a float. */
class Float {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
  toJSON(): number {
    return this.value;
  }
}

const TOKENS = /"(?:[^"\\]|\\.)*"?|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
/** Marks a float between two parses; no text of JSON contains it, as it would be escaped. */
const MARK = "\u0000float ";

/** JSON as Python reads it: integers are numbers, floats `Float`. Throws SyntaxError. */
export function parsePython(json: string): unknown {
  JSON.parse(json);
  const marked = json.replace(TOKENS, (token) =>
    token.startsWith('"') || !/[.eE]/.test(token) ? token : JSON.stringify(MARK + token),
  );
  return JSON.parse(marked, (_, value: unknown) =>
    typeof value === "string" && value.startsWith(MARK) ? new Float(Number(value.slice(MARK.length))) : value,
  );
}

type PythonType = "str" | "int" | "float" | "bool" | "list" | "dict" | "NoneType";
type Dict = Readonly<Record<string, unknown>>;

function typeOf(value: unknown): PythonType {
  if (value instanceof Float) return "float";
  if (Array.isArray(value)) return "list";
  if (typeof value === "string") return "str";
  if (typeof value === "number") return "int";
  if (typeof value === "boolean") return "bool";
  return typeof value === "object" && value !== null ? "dict" : "NoneType";
}

const isDict = (value: unknown): value is Dict => typeOf(value) === "dict";
const isText = (value: unknown): value is string => typeof value === "string";

function toNumber(value: unknown): number | undefined {
  if (value instanceof Float) return value.value;
  return typeof value === "number" || typeof value === "boolean" ? Number(value) : undefined;
}

/** Python's `==`. */
function isEqual(a: unknown, b: unknown): boolean {
  const number = toNumber(a);
  if (number !== undefined) return number === toNumber(b);
  if (Array.isArray(a))
    return Array.isArray(b) && a.length === b.length && a.every((one, i) => isEqual(one, b[i]));
  if (!isDict(a)) return a === b;
  const keys = Object.keys(a);
  return (
    isDict(b) &&
    keys.length === Object.keys(b).length &&
    keys.every((key) => Object.hasOwn(b, key) && isEqual(a[key], b[key]))
  );
}

const includes = (list: readonly unknown[], value: unknown): boolean =>
  list.some((one) => isEqual(one, value));

/** Texts are compared without blanks, some marks and case. */
const foldText = (text: string): string =>
  text
    .replace(/[ ,./\-_*^]/g, "")
    .toLowerCase()
    .replace(/'/g, '"');
const fold = (value: unknown): unknown => (isText(value) ? foldText(value) : value);

// Types.

const TYPES: Readonly<Record<string, PythonType>> = {
  string: "str",
  integer: "int",
  float: "float",
  boolean: "bool",
  array: "list",
  tuple: "list",
  dict: "dict",
  any: "str",
};

interface Expected {
  readonly type: PythonType;
  /** Type of the elements of a list. */
  readonly items?: PythonType | undefined;
}

/**
 * Whether a value has the expected type, or that of the possible answers, which may be names of variables ("variable");
 * undefined where it has neither.
 */
function matchType(
  value: unknown,
  answers: readonly unknown[],
  expected: Expected,
): "typed" | "variable" | undefined {
  const first = answers.find((answer) => answer !== "");
  const answered = first === undefined ? undefined : typeOf(first);
  const kind = answered === undefined || answered === expected.type ? "typed" : "variable";
  if (typeOf(value) !== expected.type) return answered === typeOf(value) ? "variable" : undefined;
  const { items } = expected;
  if (items === undefined || !Array.isArray(value)) return kind;
  const isSound = answers.some(
    (answer) =>
      !Array.isArray(answer) || value.every((one) => matchType(one, answer, { type: items }) !== undefined),
  );
  return isSound ? kind : undefined;
}

// Values.

function matchesDict(value: Dict, answer: unknown): boolean {
  if (!isDict(answer)) return false;
  const fits = Object.entries(value).every(([key, one]) => {
    const allowed = Object.hasOwn(answer, key) ? answer[key] : undefined;
    return Array.isArray(allowed) && includes(allowed.map(fold), fold(one));
  });
  return (
    fits &&
    Object.entries(answer).every(
      ([key, allowed]) => Object.hasOwn(value, key) || (Array.isArray(allowed) && allowed.includes("")),
    )
  );
}

/** Each dictionary against the one of its place; no answer ("") stands for an empty list. */
const matchesDicts = (value: readonly unknown[], answer: unknown): boolean =>
  Array.isArray(answer) || answer === ""
    ? value.length === answer.length && value.every((one, i) => isDict(one) && matchesDict(one, answer[i]))
    : false;

/** A text among the answers to a list is the list of its letters, so that "" is the empty one. */
const matchesList = (value: readonly unknown[], answer: unknown): boolean =>
  (Array.isArray(answer) || isText(answer)) &&
  isEqual(value.map(fold), Array.from<unknown>(answer).map(fold));

function matchesValue(value: unknown, answers: readonly unknown[], { type, items }: Expected): boolean {
  if (type === "dict" && isDict(value)) return answers.some((answer) => matchesDict(value, answer));
  if (type === "str" && isText(value))
    return answers.filter(isText).some((answer) => foldText(answer) === foldText(value));
  if (type === "list" && Array.isArray(value))
    return answers.some((answer) => (items === "dict" ? matchesDicts : matchesList)(value, answer));
  return includes(answers, value);
}

// Calls.

const parameter = z.looseObject({ type: z.string(), items: z.looseObject({ type: z.string() }).optional() });
/** A function as the benchmark describes it, in Python's types. */
export const functionSchema = z.looseObject({
  name: z.string(),
  parameters: z.looseObject({
    properties: z.record(z.string(), parameter),
    required: z.array(z.string()),
  }),
});
export type BfclFunction = z.output<typeof functionSchema>;

/** The possible answers of each parameter, "" among them where it may be left out, by the function's name. */
export const answerSchema = z.array(z.record(z.string(), z.record(z.string(), z.array(z.unknown()))));
export type BfclAnswers = z.output<typeof answerSchema>;

/** A call: the function's name, and its arguments as `parsePython` has them. */
export interface BfclCall {
  readonly name: string;
  readonly arguments: Dict;
}

/** The benchmark's names with dots, as tools have them. */
export const toolName = (name: string): string => name.replaceAll(".", "_");

function expectedType({ type, items }: z.output<typeof parameter>): Expected {
  const known = TYPES[type];
  if (known === undefined)
    throw new MosError("bad_data", `the rules of BFCL do not know the type ${JSON.stringify(type)}`);
  return { type: known, items: type === "array" || type === "tuple" ? TYPES[items?.type ?? ""] : undefined };
}

function matchesArgument(
  given: unknown,
  answers: readonly unknown[],
  details: z.output<typeof parameter>,
): boolean {
  const expected = expectedType(details);
  const value = details.type === "float" && typeof given === "number" ? new Float(given) : given;
  const kind = matchType(value, answers, expected);
  if (kind === undefined) return false;
  return kind === "variable" ? includes(answers, value) : matchesValue(value, answers, expected);
}

function matchesCall(
  call: BfclCall,
  answer: BfclAnswers[number],
  functions: readonly BfclFunction[],
): boolean {
  const [name = "", answers = {}] = Object.entries(answer)[0] ?? [];
  const found = functions.find((one) => one.name === name);
  if (found === undefined || call.name !== toolName(name)) return false;
  const { properties, required } = found.parameters;
  const has = (parameter: string): boolean => Object.hasOwn(call.arguments, parameter);
  return (
    required.every(has) &&
    Object.entries(call.arguments).every(([parameter, value]) => {
      const [details, allowed] = [own(properties, parameter), own(answers, parameter)];
      return details !== undefined && allowed !== undefined && matchesArgument(value, allowed, details);
    }) &&
    Object.entries(answers).every(([parameter, allowed]) => has(parameter) || allowed.includes(""))
  );
}

const own = <T>(record: Readonly<Record<string, T>>, key: string): T | undefined =>
  Object.hasOwn(record, key) ? record[key] : undefined;

/**
 * Tests whether calls are right: as many as the answers, each of which takes the first call that fits it, in any order.
 *
 * @throws MosError `bad_data` for functions with types that the rules do not know.
 */
export function areRightCalls(
  calls: readonly BfclCall[],
  answers: BfclAnswers,
  functions: readonly BfclFunction[],
): boolean {
  if (calls.length !== answers.length) return false;
  const left = [...calls];
  return answers.every((answer) => {
    const at = left.findIndex((call) => matchesCall(call, answer, functions));
    if (at >= 0) left.splice(at, 1);
    return at >= 0;
  });
}
