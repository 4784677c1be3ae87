/** White space between the tokens of JSON: none but the blank after `:` and `,` ("compact"), or a bounded amount anywhere. */
export type JsonWhitespace = "compact" | "flexible";

/** Marks around a string. */
export interface Quote {
  readonly mark: string;
  /** The mark is a special token of this name, not text. */
  readonly isToken?: boolean;
  /** Within, characters are escaped as JSON does it; else the text stands as it is, and has no such mark. */
  readonly isEscaped: boolean;
}

/** How values are written where that is not JSON. */
export interface Notation {
  /** A string stands between any of these. */
  readonly quotes: readonly Quote[];
  /** Names of members stand without quotes, and no blank after `:` and `,`. */
  readonly isBare?: boolean;
  /** Spellings of `true`, `false` and `null` beside those of JSON. */
  readonly words?: Readonly<Record<string, string>>;
  /** The value is an object whose members stand without braces and quotes, as arguments of a call do. */
  readonly members?: {
    /** Around a name. */
    readonly name: readonly [before: string, after: string];
    /**
     * After each value. Where there is such a text, strings stand without quotes, and have no such text within them; what is within
     * other values is JSON. Its beginning must not be its end, too.
     */
    readonly end: string;
    readonly separator: string;
  };
}

/** A description of the texts that are allowed, as data: what a request carries. */
export type GrammarSource =
  /** A JSON value that a JSON Schema (2020-12) allows. */
  | {
      readonly type: "json_schema";
      readonly schema: unknown;
      readonly whitespace?: JsonWhitespace;
      readonly notation?: Notation;
    }
  /** Any JSON object. */
  | { readonly type: "json_object"; readonly whitespace?: JsonWhitespace }
  /** A regular expression of ECMAScript (flag u) that the whole text matches. */
  | { readonly type: "regex"; readonly pattern: string }
  /** One of these texts. */
  | { readonly type: "choice"; readonly choices: readonly string[] }
  /** A grammar in llguidance's variant of Lark. */
  | { readonly type: "lark"; readonly text: string }
  /** A grammar in llama.cpp's GBNF. */
  | { readonly type: "gbnf"; readonly text: string }
  /** This text. */
  | { readonly type: "text"; readonly text: string }
  /** A special token, by its name in the vocabulary. */
  | { readonly type: "special_token"; readonly token: string }
  /** Any text that contains none of these, with special tokens only if they are allowed by name. */
  | { readonly type: "free_text"; readonly without?: readonly string[] }
  /** A JSON string, in its shortest spelling, of a text that this source allows; or the same between other quotes. */
  | { readonly type: "json_string"; readonly of: GrammarSource; readonly quote?: string }
  | { readonly type: "sequence"; readonly parts: readonly GrammarSource[] }
  | { readonly type: "any_of"; readonly options: readonly GrammarSource[] }
  /** `max` is without limit where it is left out. */
  | {
      readonly type: "repeat";
      readonly of: GrammarSource;
      readonly min: number;
      readonly max?: number;
      readonly separator?: GrammarSource;
    };
