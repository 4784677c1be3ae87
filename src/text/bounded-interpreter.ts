// Templates are programs of whoever made the model's file. This counts what a template does, so that it ends.
import { type Environment, Interpreter } from "@huggingface/jinja";
import { type Evaluate, type Expression, evaluateLikePython } from "./as-in-python.ts";

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

/** An interpreter that throws where a template takes more than `MAX_STEPS` steps, or makes a huge text. */
export function boundedInterpreter(environment: Environment): Interpreter {
  const interpreter = new Interpreter(environment);
  const evaluate: Evaluate = evaluateLikePython(interpreter);
  const looped = new Set<unknown>();
  let steps = 0;
  const counted: Evaluate = (expression, scope) => {
    if (expression?.type === "For") looped.add(expression.iterable);
    const result = evaluate(expression, scope);
    const { value } = result;
    if (typeof value === "string" && value.length > MAX_TEXT_LENGTH)
      throw new Error(`it makes a text of more than ${MAX_TEXT_LENGTH} characters`);
    steps++;
    if (expression !== undefined && (typeof value === "string" || Array.isArray(value)))
      steps += computeCost(expression, value, looped.has(expression));
    if (steps > MAX_STEPS)
      throw new Error(
        `more than ${MAX_STEPS} steps; it may never end, or the conversation is too long for it`,
      );
    return result;
  };
  interpreter.evaluate = counted;
  return interpreter;
}
