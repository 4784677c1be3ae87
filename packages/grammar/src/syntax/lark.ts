import { type Grammar, GrammarBuilder, type GrammarError, type GrammarSymbol, type Lexeme } from "#grammar";
import { type Expression, MAX_REGEX, type SizedRegex, toRegex } from "./expression.ts";
import { type Definition, isTerminal, type LarkFile, type LarkOptions, LarkParser } from "./lark-parser.ts";
import { GrammarText } from "./position.ts";
import { alternatives, lexemeName } from "./rules.ts";

const START = "start";

/** Builds the grammar of a file. */
class LarkBuilder {
  readonly #source: GrammarText;
  readonly #file: LarkFile;
  readonly #builder = new GrammarBuilder();
  readonly #rules = new Map<string, { readonly rule: number }>();
  readonly #pending: Definition[] = [];
  readonly #terminals = new Map<string, SizedRegex | "in progress">();
  /** Symbols after a lexeme for what is ignored, where the grammar cannot ignore it everywhere. */
  #skips: readonly GrammarSymbol[] = [];

  constructor(source: GrammarText, file: LarkFile) {
    this.#source = source;
    this.#file = file;
  }

  build(): Grammar {
    const skip = this.#ignored();
    const start = this.#rule(START, 0);
    // more come with each
    for (const definition of this.#pending) this.#fill(definition);
    if (this.#skips.length === 0) return this.#builder.build(start, skip);
    return this.#builder.build(this.#builder.rule(START, [[...this.#skips, start]]));
  }

  /** The lexeme that is ignored everywhere; where a schema is within the grammar, symbols between the other lexemes. */
  #ignored(): GrammarSymbol | undefined {
    const { ignored, definitions } = this.#file;
    const [first] = ignored;
    if (first === undefined) return undefined;
    const { regex } = this.#regular({ type: "either", options: ignored, at: first.at });
    const skip = this.#lexeme({ name: "%ignore", regex }, first.at);
    const hasSchema = [...definitions.values()].some(({ body }) => hasGrammar(body));
    if (!hasSchema) return skip;
    const skips = this.#builder.reserve("ignored");
    this.#builder.set(skips, [[], [skips, skip]]);
    this.#skips = [skips];
    return undefined;
  }

  #lexeme(lexeme: Lexeme, at: number): GrammarSymbol {
    const symbol = this.#builder.lexeme(lexeme);
    if ("rule" in symbol && lexeme.name === "%ignore")
      throw this.#source.bad(at, "what is ignored matches the empty text");
    return symbol;
  }

  #rule(name: string, at: number): { readonly rule: number } {
    const known = this.#rules.get(name);
    if (known !== undefined) return known;
    const symbol = this.#builder.reserve(name);
    this.#rules.set(name, symbol);
    this.#pending.push(this.#definition(name, at));
    return symbol;
  }

  #definition(name: string, at: number): Definition {
    const definition = this.#file.definitions.get(name);
    if (definition !== undefined) return definition;
    const hint = name === START ? "; the grammar begins with it" : "";
    throw this.#source.bad(at, `${name} is not defined${hint}`);
  }

  #fill({ name, at, body, lazy }: Definition): void {
    const rule = this.#rule(name, at);
    if (lazy !== undefined) {
      const parts = lazy.suffix === undefined ? [body] : [body, lazy.suffix];
      const { regex } = this.#regular({ type: "sequence", parts, at });
      this.#builder.set(rule, [[this.#builder.lexeme({ name, regex, isLazy: true }), ...this.#skips]]);
      return;
    }
    const leaf = (expression: Expression) => this.#leaf(expression, name);
    this.#builder.set(rule, alternatives(body, { builder: this.#builder, rule: name, leaf }));
  }

  #leaf(expression: Expression, rule: string): readonly GrammarSymbol[] | undefined {
    const { type, at } = expression;
    if (type === "name" && !isTerminal(expression.name)) return [this.#rule(expression.name, at)];
    if (type === "grammar") return [this.#builder.merge(expression.grammar), ...this.#skips];
    if (type === "sequence" || type === "either" || type === "repeat") return undefined;
    const { regex } = this.#regular(expression);
    const name = type === "name" ? expression.name : lexemeName(regex, rule);
    return [this.#builder.lexeme({ name, regex }), ...this.#skips];
  }

  #regular(expression: Expression): SizedRegex {
    const sized = toRegex(
      expression,
      (name, at) => this.#terminal(name, at),
      (at) => this.#source.bad(at, "a terminal cannot contain a schema"),
    );
    if (sized.size <= MAX_REGEX) return sized;
    throw this.#source.limit(expression.at, `a terminal has more than ${MAX_REGEX} parts`);
  }

  #terminal(name: string, at: number): SizedRegex {
    if (!isTerminal(name)) throw this.#source.bad(at, `the rule ${name} stands where only terminals can`);
    const known = this.#terminals.get(name);
    if (known === "in progress") throw this.#recursion(name, at);
    if (known !== undefined) return known;
    const { body } = this.#definition(name, at);
    this.#terminals.set(name, "in progress");
    const sized = this.#regular(body);
    this.#terminals.set(name, sized);
    return sized;
  }

  #recursion(name: string, at: number): GrammarError {
    return this.#source.bad(at, `the terminal ${name} contains itself, which only rules can`);
  }
}

function hasGrammar(expression: Expression): boolean {
  switch (expression.type) {
    case "grammar":
      return true;
    case "sequence":
    case "and":
      return expression.parts.some(hasGrammar);
    case "either":
      return expression.options.some(hasGrammar);
    case "repeat":
    case "not":
      return hasGrammar(expression.of);
    default:
      return false;
  }
}

/**
 * The grammar of a text in Lark's syntax as llguidance extends it: a lexeme is as long as it can be, and what is ignored may
 * stand before, between and after lexemes.
 *
 * @throws GrammarError `bad_grammar`, `unsupported` or `limit`, with line and column.
 */
export function parseLark(text: string, options: LarkOptions): Grammar {
  const source = new GrammarText(text, "Lark");
  return new LarkBuilder(source, new LarkParser(source, options).parse()).build();
}
