import { GrammarBuilder, type GrammarSymbol, memo, type Regex } from "#grammar";
import type { Expression } from "./expression.ts";
import type { GrammarText } from "./position.ts";
import type { Definition } from "./scanner.ts";

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
    return expression.parts.flatMap((option) => alternatives(option, context));
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

/** Writes the rules that a grammar needs of those which a text defines. */
export abstract class GrammarWriter {
  protected readonly source: GrammarText;
  protected readonly definitions: ReadonlyMap<string, Definition>;
  protected readonly builder = new GrammarBuilder();
  readonly #start: string;
  readonly #rules = new Map<string, { readonly rule: number }>();

  constructor(source: GrammarText, definitions: ReadonlyMap<string, Definition>, start: string) {
    this.source = source;
    this.definitions = definitions;
    this.#start = start;
  }

  /** Writes the start and all rules that it leads to. */
  protected writeRules(): { readonly rule: number } {
    const start = this.rule(this.#start, 0);
    // the map grows while it is read
    for (const [name, rule] of this.#rules)
      this.builder.set(rule, this.write(name, this.definition(name, 0)));
    return start;
  }

  /** The alternatives of a rule. */
  protected abstract write(name: string, definition: Definition): readonly Symbols[];

  /** A rule, which is written later. */
  protected rule(name: string, at: number): { readonly rule: number } {
    return memo(this.#rules, name, () => {
      this.definition(name, at);
      return this.builder.reserve(name);
    });
  }

  protected definition(name: string, at: number): Definition {
    const definition = this.definitions.get(name);
    if (definition !== undefined) return definition;
    const hint = name === this.#start ? "; the grammar begins with it" : "";
    throw this.source.bad(at, `${name} is not defined${hint}`);
  }
}
