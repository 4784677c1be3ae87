import { ANY_TEXT, and, EMPTY, type Grammar, not, only, type Regex, repeat } from "#grammar";

/** The right side of a rule, as grammars of all syntaxes are read. `at` is its offset in the text. */
export type Expression = { readonly at: number } & (
  | { readonly type: "regex"; readonly regex: Regex }
  | { readonly type: "name"; readonly name: string }
  /** A grammar of its own, in which nothing is skipped but what it skips itself. */
  | { readonly type: "grammar"; readonly grammar: Grammar }
  /** `and` and `not` are for languages that are regular only. */
  | { readonly type: "sequence" | "either" | "and"; readonly parts: readonly Expression[] }
  | { readonly type: "repeat"; readonly of: Expression; readonly min: number; readonly max: number | null }
  | { readonly type: "not"; readonly of: Expression }
);

/** Repetitions that are counted. */
export const MAX_COUNT = 10_000;

/** Groups within groups. */
export const MAX_NESTING = 200;

/** Nodes of a regular expression after its names were replaced. */
export const MAX_REGEX = 200_000;

/** The expressions directly within one. */
export const parts = (expression: Expression): readonly Expression[] =>
  "parts" in expression ? expression.parts : "of" in expression ? [expression.of] : [];

/** Some expressions as one. */
export const joined = (
  type: "sequence" | "either" | "and",
  expressions: readonly Expression[],
  at: number,
): Expression => only(expressions) ?? { type, parts: expressions, at };

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
  const regexes = inner.map(({ regex }) => regex);
  return { regex: combine(expression, regexes), size: inner.reduce((sum, { size }) => sum + size, 1) };
}

function combine(
  expression: Exclude<Expression, { readonly type: "regex" | "name" | "grammar" }>,
  regexes: readonly Regex[],
): Regex {
  const [first = EMPTY] = regexes;
  switch (expression.type) {
    case "sequence":
      return { type: "concat", parts: regexes };
    case "either":
      return { type: "either", options: regexes };
    case "and":
      return { type: "and", parts: regexes };
    case "not":
      return and(ANY_TEXT, not(first));
    case "repeat":
      return repeat(first, expression.min, expression.max);
  }
}
