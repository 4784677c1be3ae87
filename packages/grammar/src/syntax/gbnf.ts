import { charClass, concat, EMPTY, type Grammar, type GrammarSymbol, type Regex, repeat } from "#grammar";
import { type Expression, MAX_REGEX, parts, type SizedRegex, toRegex } from "./expression.ts";
import { GbnfParser } from "./gbnf-parser.ts";
import { isGreedyExact } from "./greedy.ts";
import { GrammarText } from "./position.ts";
import { alternatives, GrammarWriter, lexemeName } from "./rules.ts";
import type { Definition } from "./scanner.ts";

/** The parts of a rule that recurs at its end only: it is any number of `loops`, then one of `ends`. */
interface Tail {
  readonly loops: readonly Regex[];
  readonly ends: readonly Regex[];
}

/** Finds which rules are regular languages. */
class RegularRules {
  readonly #source: GrammarText;
  readonly #definition: (name: string, at: number) => Definition;
  readonly #found = new Map<string, SizedRegex | "in progress" | "recursive">();

  constructor(source: GrammarText, definition: (name: string, at: number) => Definition) {
    this.#source = source;
    this.#definition = definition;
  }

  /** The language of an expression; undefined where it contains a rule that recurs. */
  find(expression: Expression): SizedRegex | undefined {
    if (expression.type === "name") return this.#rule(expression.name, expression.at);
    if (!parts(expression).every((part) => this.find(part) !== undefined)) return undefined;
    const sized = toRegex(
      expression,
      (name, at) => this.#rule(name, at) ?? { regex: EMPTY, size: 0 },
      () => new Error("GBNF has no grammars within it"),
    );
    if (sized.size <= MAX_REGEX) return sized;
    throw this.#source.limit(expression.at, `an expression has more than ${MAX_REGEX} parts`);
  }

  #rule(name: string, at: number): SizedRegex | undefined {
    const known = this.#found.get(name);
    if (known === "in progress" || known === "recursive") return undefined;
    if (known !== undefined) return known;
    const { body } = this.#definition(name, at);
    this.#found.set(name, "in progress");
    const sized = this.find(body) ?? this.#loop(body, name);
    this.#found.set(name, sized ?? "recursive");
    return sized;
  }

  /** The language of a rule that recurs at its end only. */
  #loop(body: Expression, self: string): SizedRegex | undefined {
    const tail = this.#tail(body, self);
    if (tail === undefined) return undefined;
    const { loops, ends } = tail;
    const regex = concat(repeat({ type: "either", options: loops }), { type: "either", options: ends });
    return { regex, size: this.#size(body) };
  }

  #size(expression: Expression): number {
    const size = this.find(expression)?.size;
    return size ?? parts(expression).reduce((sum, part) => sum + this.#size(part), 1);
  }

  #tail(expression: Expression, self: string): Tail | undefined {
    if (expression.type === "name" && expression.name === self) return { loops: [EMPTY], ends: [] };
    const sized = this.find(expression);
    if (sized !== undefined) return { loops: [], ends: [sized.regex] };
    if (expression.type === "either") {
      const tails = expression.parts.map((option) => this.#tail(option, self));
      if (!tails.every((tail) => tail !== undefined)) return undefined;
      return { loops: tails.flatMap(({ loops }) => loops), ends: tails.flatMap(({ ends }) => ends) };
    }
    if (expression.type === "sequence") return this.#sequenceTail(expression.parts, self);
    const isOptional = expression.type === "repeat" && expression.min === 0 && expression.max === 1;
    const tail = isOptional ? this.#tail(expression.of, self) : undefined;
    return tail && { loops: tail.loops, ends: [...tail.ends, EMPTY] };
  }

  #sequenceTail(sequence: readonly Expression[], self: string): Tail | undefined {
    const last = sequence.at(-1);
    const before = sequence.slice(0, -1).map((part) => this.find(part)?.regex);
    if (last === undefined || !before.every((regex) => regex !== undefined)) return undefined;
    const tail = this.#tail(last, self);
    const after = (regex: Regex): Regex => concat(...before, regex);
    return tail && { loops: tail.loops.map(after), ends: tail.ends.map(after) };
  }
}

/** What becomes a lexeme: regular parts and such side by side, regular parts, or single characters. */
type Lexing = "runs" | "parts" | "characters";

/** Builds a grammar. */
class GbnfBuilder extends GrammarWriter {
  readonly #regular: RegularRules;
  readonly #lexing: Lexing;

  constructor(source: GrammarText, rules: ReadonlyMap<string, Definition>, lexing: Lexing) {
    super(source, rules, "root");
    this.#regular = new RegularRules(source, (name, at) => this.definition(name, at));
    this.#lexing = lexing;
  }

  build(): Grammar {
    return this.builder.build(this.writeRules());
  }

  protected override write(name: string, { body }: Definition): readonly (readonly GrammarSymbol[])[] {
    const leaf = (expression: Expression): readonly GrammarSymbol[] | undefined => {
      if (expression.type === "name") return [this.rule(expression.name, expression.at)];
      if (expression.type !== "regex") return undefined;
      if (this.#lexing !== "characters") return [this.#lexeme(name, expression.regex)];
      return this.#characters(name, expression.regex);
    };
    return alternatives(this.#joined(body), { builder: this.builder, rule: name, leaf });
  }

  #lexeme(rule: string, regex: Regex): GrammarSymbol {
    return this.builder.lexeme({ name: lexemeName(regex, rule), regex });
  }

  #characters(rule: string, regex: Regex): readonly GrammarSymbol[] {
    if (regex.type !== "literal") return [this.builder.lexeme({ name: rule, regex })];
    return Array.from(regex.text, (character) =>
      this.builder.lexeme({ name: character, regex: charClass(character) }),
    );
  }

  /** The expression with one regular expression for each part that is regular, and for such parts side by side. */
  #joined(expression: Expression): Expression {
    if (this.#lexing === "characters") return expression;
    const sized = this.#regular.find(expression);
    if (sized !== undefined) return { type: "regex", regex: sized.regex, at: expression.at };
    switch (expression.type) {
      case "sequence":
        return { ...expression, parts: this.#runs(expression.parts.map((part) => this.#joined(part))) };
      case "either":
        return { ...expression, parts: gathered(expression.parts.map((part) => this.#joined(part))) };
      case "repeat":
        return { ...expression, of: this.#joined(expression.of) };
      default:
        return expression;
    }
  }

  /** Joins regular expressions side by side. */
  #runs(expressions: readonly Expression[]): readonly Expression[] {
    if (this.#lexing !== "runs") return expressions;
    const result: Expression[] = [];
    for (const next of expressions) {
      const last = result.at(-1);
      if (last?.type === "regex" && next.type === "regex")
        result.splice(-1, 1, { ...last, regex: concat(last.regex, next.regex) });
      else result.push(next);
    }
    return result;
  }
}

/** Joins options that are regular expressions. */
function gathered(options: readonly Expression[]): readonly Expression[] {
  const regular = options.flatMap((option) => (option.type === "regex" ? [option] : []));
  const [first] = regular;
  if (first === undefined || regular.length === 1) return options;
  const regex: Regex = { type: "either", options: regular.map((option) => option.regex) };
  return [{ ...first, regex }, ...options.filter(({ type }) => type !== "regex")];
}

/**
 * The grammar of a text in llama.cpp's GBNF, which knows no lexemes: parts that are regular become lexemes where a lexer that
 * takes the longest match finds every text of the grammar, and otherwise each character is one.
 *
 * @throws GrammarError `bad_grammar`, `unsupported` or `limit`, with line and column.
 */
export function parseGbnf(text: string): Grammar {
  const source = new GrammarText(text, "GBNF");
  const rules = new GbnfParser(source).parse();
  const built = (lexing: Lexing): Grammar => new GbnfBuilder(source, rules, lexing).build();
  for (const lexing of ["runs", "parts"] as const) {
    const grammar = built(lexing);
    if (isGreedyExact(grammar)) return grammar;
  }
  return built("characters");
}
