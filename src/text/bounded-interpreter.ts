// Templates are programs of whoever made the model's file. This counts what a template does, so that it ends.
import { type Environment, Interpreter } from "@huggingface/jinja";

/** A conversation of 10,000 turns takes about half of these, and all of them take about a second. */
export const MOST_STEPS = 500_000;

/** Characters, or items of a list, that are worth a step where a text or a list is passed on, or made. */
const [PASSED, MADE] = [256, 64];
/** A turn of a loop is worth more, even if nothing is in it. */
const TURN = 8;
/** The longest text, in characters. */
const LONGEST = 1 << 26;

/** A part of a template, as far as it is looked at here. */
interface Expression {
  readonly type: string;
  /** What a loop runs over. */
  readonly iterable?: unknown;
}
type Evaluate = (expression: Expression | undefined, scope: unknown) => { readonly value: unknown };

/** What makes a text or a list. */
const MAKERS: ReadonlySet<string> = new Set(["CallExpression", "FilterExpression", "ArrayLiteral"]);

/** An interpreter that throws where a template takes more than `MOST_STEPS` steps, or makes a huge text. */
export function boundedInterpreter(environment: Environment): Interpreter {
  const interpreter = new Interpreter(environment);
  const evaluate: Evaluate = interpreter.evaluate.bind(interpreter);
  const looped = new Set<unknown>();
  let steps = 0;
  const stepsOf = (expression: Expression, value: unknown): number => {
    if (typeof value === "string") {
      if (value.length > LONGEST) throw new Error(`it makes a text of more than ${LONGEST} characters`);
      return 1 + Math.floor(value.length / (MAKERS.has(expression.type) ? MADE : PASSED));
    }
    if (!Array.isArray(value)) return 1;
    if (looped.has(expression)) return 1 + TURN * value.length;
    if (MAKERS.has(expression.type)) return 1 + value.length;
    return expression.type === "Identifier" ? 1 : 1 + Math.floor(value.length / PASSED);
  };
  const counted: Evaluate = (expression, scope) => {
    if (expression?.type === "For") looped.add(expression.iterable);
    const result = evaluate(expression, scope);
    steps += expression === undefined ? 1 : stepsOf(expression, result.value);
    if (steps > MOST_STEPS)
      throw new Error(
        `more than ${MOST_STEPS} steps; it may never end, or the conversation is too long for it`,
      );
    return result;
  };
  interpreter.evaluate = counted;
  return interpreter;
}
