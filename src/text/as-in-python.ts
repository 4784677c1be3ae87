// Differences of the interpreter from Jinja in Python: a text must be rendered as it was when the model was trained.
import type { Interpreter } from "@huggingface/jinja";
import { pythonStrip, type StripSide } from "./python-strip.ts";

/** A part of a template, as far as it is looked at here. */
export interface Expression {
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
}

/** Result of an expression. */
interface Value {
  readonly type: string;
  value: unknown;
  readonly builtins: ReadonlyMap<string, Value>;
}

/** The interpreter's way from an expression to its value. */
export type Evaluate = (expression: Expression | undefined, scope: unknown) => Value;

/** `interpreter.evaluate`, with Python's strip methods, and undefined attributes in `selectattr`. */
export function evaluateLikePython(interpreter: Interpreter): Evaluate {
  const evaluate: Evaluate = interpreter.evaluate.bind(interpreter);
  return (expression, scope) => {
    if (expression?.type === "FilterExpression") return evaluate(withUndefined(expression), scope);
    const side =
      expression?.type === "MemberExpression" && !expression.computed && expression.property?.value;
    if (side !== "strip" && side !== "lstrip" && side !== "rstrip") return evaluate(expression, scope);
    const text: Value = interpreter.evaluate(expression?.object, scope);
    const method = text.type === "StringValue" ? text.builtins.get(side) : undefined;
    return method === undefined ? evaluate(expression, scope) : stripMethod(method, text, side);
  };
}

/** The interpreter's own methods look at no argument. */
function stripMethod(method: Value, text: Value, side: StripSide): Value {
  const own = method.value as () => Value;
  method.value = ([given]: readonly (Value | undefined)[]) => {
    if (given !== undefined && given.type !== "StringValue" && given.type !== "NullValue")
      throw new Error(`${side}() takes a text, not ${given.type}`);
    const chars = given?.type === "StringValue" ? String(given.value) : undefined;
    return Object.assign(own(), { value: pythonStrip(String(text.value), { chars, side }) });
  };
  return method;
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
