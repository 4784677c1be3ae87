import type { Grammar, GrammarSymbol, Lexeme } from "#grammar";
import { type Expression, MAX_REGEX, parts, type SizedRegex, toRegex } from "./expression.ts";
import { isTerminal, type LarkFile, LarkParser, type SchemaGrammar } from "./lark-parser.ts";
import { GrammarText } from "./position.ts";
import { alternatives, GrammarWriter, lexemeName } from "./rules.ts";
import type { Definition } from "./scanner.ts";

const START = "start";

type Symbols = readonly GrammarSymbol[];

/** Builds the grammar of a file. */
class LarkBuilder extends GrammarWriter {
  readonly #ignoredExpressions: readonly Expression[];
  readonly #terminals = new Map<string, SizedRegex | "in progress">();
  /** Symbols after a lexeme for what is ignored, where the grammar cannot ignore it everywhere. */
  #skips: Symbols = [];

  constructor(source: GrammarText, { definitions, ignored }: LarkFile) {
    super(source, definitions, START);
    this.#ignoredExpressions = ignored;
  }

  build(): Grammar {
    const skip = this.#ignored();
    const start = this.writeRules();
    if (this.#skips.length === 0) return this.builder.build(start, skip);
    return this.builder.build(this.builder.rule(START, [[...this.#skips, start]]));
  }

  /** The lexeme that is ignored everywhere; where a schema is within the grammar, symbols between the other lexemes. */
  #ignored(): GrammarSymbol | undefined {
    const [first] = this.#ignoredExpressions;
    if (first === undefined) return undefined;
    const { regex } = this.#regular({ type: "either", parts: this.#ignoredExpressions, at: first.at });
    const skip = this.#lexeme({ name: "%ignore", regex }, first.at);
    const hasSchema = [...this.definitions.values()].some(({ body }) => hasGrammar(body));
    if (!hasSchema) return skip;
    const skips = this.builder.reserve("ignored");
    this.builder.set(skips, [[], [skips, skip]]);
    this.#skips = [skips];
    return undefined;
  }

  #lexeme(lexeme: Lexeme, at: number): GrammarSymbol {
    const symbol = this.builder.lexeme(lexeme);
    if ("rule" in symbol && lexeme.name === "%ignore")
      throw this.source.bad(at, "what is ignored matches the empty text");
    return symbol;
  }

  protected override write(name: string, { at, body, lazy }: Definition): readonly Symbols[] {
    if (lazy !== undefined) {
      const parts = lazy.suffix === undefined ? [body] : [body, lazy.suffix];
      const { regex } = this.#regular({ type: "sequence", parts, at });
      return [[this.builder.lexeme({ name, regex, isLazy: true }), ...this.#skips]];
    }
    const leaf = (expression: Expression) => this.#leaf(expression, name);
    return alternatives(body, { builder: this.builder, rule: name, leaf });
  }

  #leaf(expression: Expression, rule: string): Symbols | undefined {
    const { type, at } = expression;
    if (type === "name" && !isTerminal(expression.name)) return [this.rule(expression.name, at)];
    if (type === "grammar") return [this.builder.merge(expression.grammar), ...this.#skips];
    if (type === "sequence" || type === "either" || type === "repeat") return undefined;
    const { regex } = this.#regular(expression);
    const name = type === "name" ? expression.name : lexemeName(regex, rule);
    return [this.builder.lexeme({ name, regex }), ...this.#skips];
  }

  #regular(expression: Expression): SizedRegex {
    const sized = toRegex(
      expression,
      (name, at) => this.#terminal(name, at),
      (at) => this.source.bad(at, "a terminal cannot contain a schema"),
    );
    if (sized.size <= MAX_REGEX) return sized;
    throw this.source.limit(expression.at, `a terminal has more than ${MAX_REGEX} parts`);
  }

  #terminal(name: string, at: number): SizedRegex {
    if (!isTerminal(name)) throw this.source.bad(at, `the rule ${name} stands where only terminals can`);
    const known = this.#terminals.get(name);
    if (known === "in progress")
      throw this.source.bad(at, `the terminal ${name} contains itself, which only rules can`);
    if (known !== undefined) return known;
    const { body } = this.definition(name, at);
    this.#terminals.set(name, "in progress");
    const sized = this.#regular(body);
    this.#terminals.set(name, sized);
    return sized;
  }
}

const hasGrammar = (expression: Expression): boolean =>
  expression.type === "grammar" || parts(expression).some(hasGrammar);

/**
 * The grammar of a text in Lark's syntax as llguidance extends it: a lexeme is as long as it can be, and what is ignored may
 * stand before, between and after lexemes.
 *
 * @throws GrammarError `bad_grammar`, `unsupported` or `limit`, with line and column.
 */
export function parseLark(text: string, jsonSchema: SchemaGrammar): Grammar {
  const source = new GrammarText(text, "Lark");
  return new LarkBuilder(source, new LarkParser(source, jsonSchema).parse()).build();
}
