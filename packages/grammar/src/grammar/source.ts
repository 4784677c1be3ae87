/** White space between the tokens of JSON: none but the blank after `:` and `,` ("compact"), or a bounded amount anywhere. */
export type JsonWhitespace = "compact" | "flexible";

/** A description of the texts that are allowed, as data: what a request carries. */
export type GrammarSource =
  /** A JSON value that a JSON Schema (2020-12) allows. */
  | { readonly type: "json_schema"; readonly schema: unknown; readonly whitespace?: JsonWhitespace }
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
  /** A JSON string, in its shortest spelling, of a text that this source allows. */
  | { readonly type: "json_string"; readonly of: GrammarSource }
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
