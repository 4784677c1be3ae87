import {
  ANY_TEXT,
  and,
  concat,
  EMPTY,
  type Grammar,
  GrammarBuilder,
  GrammarError,
  type GrammarSource,
  type GrammarSymbol,
  literal,
  not,
  optional,
  type Regex,
  repeat,
  specialTokenBytes,
} from "#grammar";
import { SourceCheck } from "./check.ts";

/** A regular language, which is not a lexeme yet, since its neighbours may join it. */
interface Regular {
  readonly regex: Regex;
  /** Whether it is one given text, ends with one, or neither. */
  readonly fixed: "whole" | "end" | "no";
}

type Piece = Regular | { readonly symbol: GrammarSymbol };

/** Place of a source within the outermost. `isFollowed`: other text may come after it. */
interface Place {
  readonly path: string;
  readonly depth: number;
  readonly isFollowed: boolean;
}

type SourceOf<T extends GrammarSource["type"]> = Extract<GrammarSource, { readonly type: T }>;

const regular = (regex: Regex, fixed: Regular["fixed"] = "no"): Regular => ({ regex, fixed });
const isRegular = (piece: Piece): piece is Regular => "regex" in piece;

/** One of many, more than a function takes as arguments. */
const oneOf = (options: readonly Regex[]): Regex => ({ type: "either", options });

/** Text in which none of these occur. */
const textWithout = (texts: readonly string[]): Regex =>
  texts.length === 0 ? ANY_TEXT : and(ANY_TEXT, not(concat(ANY_TEXT, oneOf(texts.map(literal)), ANY_TEXT)));

/** The only lexeme of a grammar, or undefined where there is more to it. */
function asRegex({ lexemes, rules, start, skip }: Grammar): Regex | undefined {
  const [symbols, ...others] = rules[start]?.alternatives ?? [];
  const [symbol, ...rest] = symbols ?? [];
  if (skip !== undefined || others.length > 0 || rest.length > 0) return undefined;
  if (symbol === undefined || !("lexeme" in symbol)) return undefined;
  const lexeme = lexemes[symbol.lexeme];
  return lexeme?.isLazy === true ? undefined : lexeme?.regex;
}

/** The regular language of a repetition. */
function repeatRegex(of: Regex, { min, max, separator }: Counts<Regex>): Regex {
  if (separator === undefined) return repeat(of, min, max);
  if (max === 0) return EMPTY;
  const atLeastOne = concat(
    of,
    repeat(concat(separator, of), Math.max(min - 1, 0), max === null ? null : max - 1),
  );
  return min === 0 ? optional(atLeastOne) : atLeastOne;
}

interface Counts<T> {
  readonly min: number;
  readonly max: number | null;
  readonly separator?: T | undefined;
}

/** Puts the grammar of a source together. */
class Composer {
  readonly #builder = new GrammarBuilder();
  readonly #check = new SourceCheck();

  compose(source: GrammarSource): Grammar {
    const place = { path: "", depth: 1, isFollowed: false };
    // as it is: a grammar alone keeps what it skips
    const whole = this.#grammarOf(this.#check.check(source, place));
    if (whole !== undefined) return whole;
    return this.#builder.build(this.#symbol(this.#piece(source, place), place));
  }

  /** The grammar of a source that is one by itself. */
  #grammarOf(source: GrammarSource): Grammar | undefined {
    switch (source.type) {
      case "json_schema":
      case "json_object":
      case "lark":
      case "gbnf":
        throw new GrammarError("unsupported", `sources of type ${source.type} are not supported yet`);
      default:
        return undefined;
    }
  }

  #piece(value: GrammarSource, place: Place): Piece {
    const source = this.#check.check(value, place);
    switch (source.type) {
      case "text":
        return regular(literal(source.text), "whole");
      case "special_token":
        return regular({ type: "bytes", bytes: [...specialTokenBytes(source.token)] }, "whole");
      case "free_text":
        return regular(textWithout(source.without ?? []));
      case "choice":
        return regular(oneOf(source.choices.map(literal)));
      case "regex":
        throw new GrammarError("unsupported", "sources of type regex are not supported yet");
      case "sequence":
        return this.#sequence(source, place);
      case "any_of":
        return this.#anyOf(source, place);
      case "repeat":
        return this.#repeat(source, place);
      default: {
        const grammar = this.#grammarOf(source);
        if (grammar === undefined) throw new Error(`a source of type ${source.type} has no grammar`);
        const regex = asRegex(grammar);
        return regex === undefined ? { symbol: this.#builder.merge(grammar) } : regular(regex);
      }
    }
  }

  /** A symbol of the grammar for a piece that nothing joins any more. */
  #symbol(piece: Piece, { path, isFollowed }: Pick<Place, "path" | "isFollowed">): GrammarSymbol {
    if (!isRegular(piece)) return piece.symbol;
    const isLazy = isFollowed && piece.fixed === "end";
    return this.#builder.lexeme({ name: path === "" ? "text" : path, regex: piece.regex, isLazy });
  }

  /** Regular parts side by side are one lexeme: a lexer cannot know where one of them ends and the next begins. */
  #sequence({ parts }: SourceOf<"sequence">, place: Place): Piece {
    const symbols: GrammarSymbol[] = [];
    let run: Regular[] = [];
    const endRun = (isFollowed: boolean): void => {
      if (run.length > 0) symbols.push(this.#symbol(joined(run), { path: place.path, isFollowed }));
      run = [];
    };
    for (const [i, part] of parts.entries()) {
      const isFollowed = place.isFollowed || i < parts.length - 1;
      const piece = this.#piece(part, this.#within(place, { field: `parts[${i}]`, isFollowed }));
      if (isRegular(piece)) run.push(piece);
      else {
        endRun(true);
        symbols.push(piece.symbol);
      }
    }
    if (symbols.length === 0) return joined(run);
    endRun(place.isFollowed);
    return { symbol: this.#builder.rule(place.path, [symbols]) };
  }

  /** Regular options are one lexeme. */
  #anyOf({ options }: SourceOf<"any_of">, place: Place): Piece {
    const pieces = options.map((option, i) =>
      this.#piece(option, this.#within(place, { field: `options[${i}]` })),
    );
    if (pieces.every(isRegular)) return regular(oneOf(pieces.map(({ regex }) => regex)));
    const alternatives = pieces.map((piece) => [this.#symbol(piece, place)]);
    return { symbol: this.#builder.rule(place.path, alternatives) };
  }

  #repeat({ of, min, separator, ...limits }: SourceOf<"repeat">, place: Place): Piece {
    const max = limits.max ?? null;
    const isFollowed = place.isFollowed || max === null || max > 1;
    const item = this.#piece(of, this.#within(place, { field: "of", isFollowed }));
    const between =
      separator === undefined
        ? undefined
        : this.#piece(separator, this.#within(place, { field: "separator", isFollowed: true }));
    if (isRegular(item) && (between === undefined || isRegular(between)))
      return regular(repeatRegex(item.regex, { min, max, separator: between?.regex }));
    return {
      symbol: this.#repeatRule(place.path, {
        of: this.#symbol(item, { path: place.path, isFollowed }),
        separator: between && this.#symbol(between, { path: place.path, isFollowed: true }),
        min,
        max,
      }),
    };
  }

  /** Unlimited repetitions recur on the left, which costs a parser least; limited ones are one rule for each. */
  #repeatRule(
    name: string,
    { of, min, max, separator }: Counts<GrammarSymbol> & { readonly of: GrammarSymbol },
  ): GrammarSymbol {
    const builder = this.#builder;
    if (max === 0) return builder.rule(name, [[]]);
    const next = separator === undefined ? of : builder.rule(name, [[separator, of]]);
    // with a separator, the first is apart
    const needed = separator === undefined ? min : Math.max(min - 1, 0);
    const begin = separator === undefined ? [] : [of];
    const required = [...begin, ...Array<GrammarSymbol>(needed).fill(next)];
    let more: GrammarSymbol;
    if (max === null) {
      const many = builder.reserve(name);
      builder.set(many, [[], [many, next]]);
      more = many;
    } else {
      more = builder.rule(name, [[]]);
      for (let i = required.length; i < max; i++) more = builder.rule(name, [[], [next, more]]);
    }
    const alternatives = [[...required, more]];
    return builder.rule(name, min === 0 && separator !== undefined ? [[], ...alternatives] : alternatives);
  }

  #within(
    { path, depth, isFollowed }: Place,
    { field, ...change }: { readonly field: string; readonly isFollowed?: boolean },
  ): Place {
    return { path: path === "" ? field : `${path}.${field}`, depth: depth + 1, isFollowed, ...change };
  }
}

const joined = (run: readonly Regular[]): Regular => {
  const [only] = run;
  if (run.length === 1 && only !== undefined) return only;
  const end = run.at(-1)?.fixed === "no" ? "no" : "end";
  return {
    regex: { type: "concat", parts: run.map(({ regex }) => regex) },
    fixed: run.every(({ fixed }) => fixed === "whole") ? "whole" : end,
  };
};

/**
 * The grammar of a source. Parts side by side that are regular languages become one lexeme, so that an automaton decides where
 * one ends; otherwise a lexeme goes on as long as it can, before what follows begins.
 *
 * @throws GrammarError `bad_grammar` where the source is not well formed, which it names; `unsupported` and `limit`.
 */
export const grammarFromSource = (source: GrammarSource): Grammar => new Composer().compose(source);
