import { jsonStringContent } from "#automaton";
import {
  concat,
  EMPTY,
  type Grammar,
  GrammarBuilder,
  GrammarError,
  type GrammarSource,
  type GrammarSymbol,
  literal,
  optional,
  type Regex,
  repeat,
  specialTokenBytes,
  textWithout,
} from "#grammar";
import { compileSchema, jsonObjectGrammar } from "#json-schema";
import { parseGbnf, parseLark, parsePattern } from "#syntax";
import { SourceCheck } from "./check.ts";
import {
  asRegular,
  type Counts,
  emptyPiece,
  Joiner,
  type Piece,
  regular,
  symbolPiece,
  union,
} from "./pieces.ts";

/** Place of a source within the outermost. */
interface Place {
  readonly path: string;
  readonly depth: number;
}

type SourceOf<T extends GrammarSource["type"]> = Extract<GrammarSource, { readonly type: T }>;

/** One of many, more than a function takes as arguments. */
const oneOf = (options: readonly Regex[]): Regex => ({ type: "either", options });

/** Parts of a language that are worth to be put together from rules. */
const MAX_FOLDED = 10_000;

/** The language of a grammar that is regular since none of its rules recurs; undefined for others, and for large ones. */
function asRegex({ lexemes, rules, start, skip }: Grammar): Regex | undefined {
  let left = MAX_FOLDED;
  const open = new Set<number>();
  const ofSymbol = (symbol: GrammarSymbol): Regex | undefined => {
    if (--left < 0) return undefined;
    if ("rule" in symbol) return ofRule(symbol.rule);
    const lexeme = lexemes[symbol.lexeme];
    return lexeme?.isLazy === true ? undefined : lexeme?.regex;
  };
  const ofAlternative = (symbols: readonly GrammarSymbol[]): Regex | undefined => {
    const parts = symbols.map(ofSymbol);
    return parts.every((part) => part !== undefined) ? { type: "concat", parts } : undefined;
  };
  const ofRule = (rule: number): Regex | undefined => {
    if (open.has(rule)) return undefined;
    open.add(rule);
    const options = (rules[rule]?.alternatives ?? []).map(ofAlternative);
    open.delete(rule);
    return options.every((option) => option !== undefined) ? oneOf(options) : undefined;
  };
  return skip === undefined ? ofRule(start) : undefined;
}

/** The regular language of a repetition. */
function repeatRegex(of: Regex, separator: Regex, { min, max }: Counts): Regex {
  if (separator === EMPTY) return repeat(of, min, max);
  if (max === 0) return EMPTY;
  const atLeastOne = concat(
    of,
    repeat(concat(separator, of), Math.max(min - 1, 0), max === null ? null : max - 1),
  );
  return min === 0 ? optional(atLeastOne) : atLeastOne;
}

/** Puts the grammar of a source together. */
class Composer {
  readonly #builder = new GrammarBuilder();
  readonly #check: SourceCheck;

  constructor(check = new SourceCheck()) {
    this.#check = check;
  }

  compose(source: GrammarSource, place: Place = { path: "", depth: 1 }): Grammar {
    // a grammar alone stays as it is, with what it skips
    const whole = this.#grammarOf(this.#check.check(source, place));
    if (whole !== undefined) return whole;
    const piece = this.#piece(source, place);
    return this.#builder.build(this.#joiner(place).symbol(piece, false));
  }

  /** The grammar of a source that is one by itself. */
  #grammarOf(source: GrammarSource): Grammar | undefined {
    switch (source.type) {
      case "json_schema":
        return compileSchema(source.schema, source);
      case "json_object":
        return jsonObjectGrammar(source.whitespace);
      case "lark":
        return parseLark(source.text, (schema) => compileSchema(schema));
      case "gbnf":
        return parseGbnf(source.text);
      default:
        return undefined;
    }
  }

  #piece(value: GrammarSource, place: Place): Piece {
    const source = this.#check.check(value, place);
    switch (source.type) {
      case "text":
        return source.text === "" ? emptyPiece : regular(literal(source.text), "whole");
      case "special_token":
        return regular({ type: "bytes", bytes: [...specialTokenBytes(source.token)] }, "whole");
      case "free_text":
        return regular(textWithout(source.without ?? []));
      case "choice":
        return regular(oneOf(source.choices.map(literal)));
      case "regex":
        return regular(parsePattern(source.pattern, { anchored: true }));
      case "json_string":
        return this.#jsonString(source, place);
      case "sequence":
        return this.#sequence(source, place);
      case "any_of":
        return this.#anyOf(source, place);
      case "repeat":
        return this.#repeat(source, place);
      default:
        return this.#grammarPiece(source);
    }
  }

  #grammarPiece(source: GrammarSource): Piece {
    const grammar = this.#grammarOf(source);
    if (grammar === undefined) throw new Error(`a source of type ${source.type} has no grammar`);
    // large lexemes are slow, and where those of JSON end is never in doubt
    const isFolded = source.type === "lark" || source.type === "gbnf";
    const regex = isFolded ? asRegex(grammar) : undefined;
    return regex === undefined ? symbolPiece(this.#builder.merge(grammar)) : regular(regex);
  }

  /** A grammar of its own, whose lexemes are spelled as within quotes. */
  #jsonString({ of, quote: mark = '"' }: SourceOf<"json_string">, place: Place): Piece {
    const plain = new Composer(this.#check).compose(of, within(place, "of"));
    const lexemes = plain.lexemes.map((one) => ({ ...one, regex: jsonStringContent(one.regex, mark) }));
    const grammar = { ...plain, lexemes };
    const regex = asRegex(grammar);
    const content = regex === undefined ? symbolPiece(this.#builder.merge(grammar)) : regular(regex);
    const quote = regular(literal(mark), "whole");
    return this.#joiner(place).sequence([quote, content, quote]);
  }

  #joiner({ path }: Place): Joiner {
    return new Joiner(this.#builder, path === "" ? "text" : path);
  }

  #sequence({ parts }: SourceOf<"sequence">, place: Place): Piece {
    const pieces = parts.map((part, i) => this.#piece(part, within(place, `parts[${i}]`)));
    return this.#joiner(place).sequence(pieces);
  }

  #anyOf({ options }: SourceOf<"any_of">, place: Place): Piece {
    return union(options.map((option, i) => this.#piece(option, within(place, `options[${i}]`))));
  }

  #repeat({ of, min, separator, ...limits }: SourceOf<"repeat">, place: Place): Piece {
    const counts = { min, max: limits.max ?? null };
    const item = this.#piece(of, within(place, "of"));
    const between = separator === undefined ? emptyPiece : this.#piece(separator, within(place, "separator"));
    const [regex, betweenRegex] = [asRegular(item), asRegular(between)];
    if (regex !== undefined && betweenRegex !== undefined)
      return regular(repeatRegex(regex, betweenRegex, counts));
    return this.#joiner(place).repeat(item, between, counts);
  }
}

const within = ({ path, depth }: Place, field: string): Place => ({
  path: path === "" ? field : `${path}.${field}`,
  depth: depth + 1,
});

/** Errors of V8 where a recursion takes all of the stack, or an array or a text is too long, as a GrammarError. */
export const toGrammarError = (error: unknown): unknown =>
  error instanceof RangeError
    ? new GrammarError(
        "limit",
        `the grammar is nested too deeply or too large to compile (${error.message})`,
        { cause: error },
      )
    : error;

/**
 * The grammar of a source. Parts side by side that are regular languages become one lexeme, so that an automaton decides where
 * one ends; otherwise a lexeme goes on as long as it can, before what follows begins.
 *
 * @throws GrammarError `bad_grammar` where the source is not well formed, which it names; `unsupported` and `limit`.
 */
export function grammarFromSource(source: GrammarSource): Grammar {
  try {
    return new Composer().compose(source);
  } catch (error) {
    throw toGrammarError(error);
  }
}
