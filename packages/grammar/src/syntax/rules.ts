import type { GrammarBuilder, GrammarSymbol, Regex } from "#grammar";
import type { Expression } from "./expression.ts";

type Symbols = readonly GrammarSymbol[];

/** What a rule's expressions become. */
export interface RuleContext {
  readonly builder: GrammarBuilder;
  /** Name of the rule, for those that it needs besides. */
  readonly rule: string;
  /** The symbols of a name, a regular expression, or a grammar of its own; undefined for what is put together of others. */
  readonly leaf: (expression: Expression) => Symbols | undefined;
}

/** Characters of a lexeme's name. */
const MAX_NAME = 40;

/** The name of a lexeme that has none: its text, or else its rule. */
export const lexemeName = (regex: Regex, rule: string): string =>
  regex.type === "literal" ? JSON.stringify(regex.text.slice(0, MAX_NAME)) : rule;

/** The alternatives of a rule. */
export function alternatives(expression: Expression, context: RuleContext): readonly Symbols[] {
  if (context.leaf(expression) === undefined && expression.type === "either")
    return expression.options.flatMap((option) => alternatives(option, context));
  return [symbols(expression, context)];
}

function symbols(expression: Expression, context: RuleContext): Symbols {
  const leaf = context.leaf(expression);
  if (leaf !== undefined) return leaf;
  const { builder, rule } = context;
  switch (expression.type) {
    case "sequence":
      return expression.parts.flatMap((part) => symbols(part, context));
    case "either":
      return [builder.rule(rule, alternatives(expression, context))];
    case "repeat":
      return repeated(expression, context);
    default:
      throw new Error(`${expression.type} is not part of a rule`);
  }
}

function repeated(
  { of, min, max }: Extract<Expression, { readonly type: "repeat" }>,
  context: RuleContext,
): Symbols {
  const { builder, rule } = context;
  const inner = symbols(of, context);
  const item: Symbols = inner.length > 1 && (min > 1 || max !== 1) ? [builder.rule(rule, [inner])] : inner;
  const required = Array.from({ length: min }, () => item).flat();
  if (max === null) {
    const many = builder.reserve(rule);
    builder.set(many, [[], [many, ...item]]);
    return [...required, many];
  }
  let more: Symbols = [];
  for (let i = min; i < max; i++) more = [builder.rule(rule, [[], [...item, ...more]])];
  return [...required, ...more];
}
