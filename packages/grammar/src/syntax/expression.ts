import { ANY_TEXT, and, type Grammar, not, type Regex } from "#grammar";

/** The right side of a rule, as grammars of all syntaxes are read. `at` is its offset in the text. */
export type Expression =
  | { readonly type: "regex"; readonly regex: Regex; readonly at: number }
  | { readonly type: "name"; readonly name: string; readonly at: number }
  /** A grammar of its own, in which nothing is skipped but what it skips itself. */
  | { readonly type: "grammar"; readonly grammar: Grammar; readonly at: number }
  | { readonly type: "sequence"; readonly parts: readonly Expression[]; readonly at: number }
  | { readonly type: "either"; readonly options: readonly Expression[]; readonly at: number }
  | {
      readonly type: "repeat";
      readonly of: Expression;
      readonly min: number;
      readonly max: number | null;
      readonly at: number;
    }
  /** For languages that are regular only. */
  | { readonly type: "and"; readonly parts: readonly Expression[]; readonly at: number }
  | { readonly type: "not"; readonly of: Expression; readonly at: number };

/** Repetitions that are counted. */
export const MAX_COUNT = 10_000;

/** Groups within groups. */
export const MAX_NESTING = 200;

/** Nodes of a regular expression after its names were replaced. */
export const MAX_REGEX = 200_000;

/** The expressions directly within one. */
export function parts(expression: Expression): readonly Expression[] {
  switch (expression.type) {
    case "sequence":
    case "and":
      return expression.parts;
    case "either":
      return expression.options;
    case "repeat":
    case "not":
      return [expression.of];
    default:
      return [];
  }
}

/** A regular expression with the number of its nodes, by which those that grow exponentially are found. */
export interface SizedRegex {
  readonly regex: Regex;
  readonly size: number;
}

/** The regular language of an expression, by those of its names. Grammars of their own have none. */
export function toRegex(
  expression: Expression,
  ofName: (name: string, at: number) => SizedRegex,
  onGrammar: (at: number) => Error,
): SizedRegex {
  if (expression.type === "grammar") throw onGrammar(expression.at);
  if (expression.type === "name") return ofName(expression.name, expression.at);
  if (expression.type === "regex") return { regex: expression.regex, size: 1 };
  const inner = parts(expression).map((part) => toRegex(part, ofName, onGrammar));
  return {
    regex: combine(
      expression,
      inner.map(({ regex }) => regex),
    ),
    size: inner.reduce((sum, { size }) => sum + size, 1),
  };
}

function combine(
  expression: Exclude<Expression, { readonly type: "regex" | "name" | "grammar" }>,
  regexes: readonly Regex[],
): Regex {
  const [first] = regexes;
  switch (expression.type) {
    case "sequence":
      return { type: "concat", parts: regexes };
    case "either":
      return { type: "either", options: regexes };
    case "and":
      return { type: "and", parts: regexes };
    default:
      if (first === undefined) throw new Error(`${expression.type} of nothing`);
      return expression.type === "not"
        ? and(ANY_TEXT, not(first))
        : { type: "repeat", of: first, min: expression.min, max: expression.max };
  }
}
