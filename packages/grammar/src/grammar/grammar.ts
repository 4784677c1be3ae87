import type { Regex } from "./regex.ts";

/** A terminal of a grammar. */
export interface Lexeme {
  /** Its name in messages. */
  readonly name: string;
  readonly regex: Regex;
  /**
   * Ends at its first match rather than at its longest. Where several lexemes are possible, a byte goes on with all of them, and a
   * lexeme ends where no byte can continue any; a lazy one ends them all where it matches.
   */
  readonly isLazy?: boolean;
  /** Known to have few states, so that nobody needs to count them. */
  readonly isSmall?: boolean;
}

/** A reference to a lexeme or to a rule, by its index. */
export type GrammarSymbol = { readonly lexeme: number } | { readonly rule: number };

/** A rule: one of its alternatives, each a sequence of symbols. */
export interface Rule {
  readonly name: string;
  readonly alternatives: readonly (readonly GrammarSymbol[])[];
}

/** A context-free grammar over lexemes, as data: it survives structured cloning and JSON. */
export interface Grammar {
  readonly lexemes: readonly Lexeme[];
  readonly rules: readonly Rule[];
  /** Index of the start rule. */
  readonly start: number;
  /** Index of the lexeme that may stand before, between and after all others, such as white space; without it, nothing may. */
  readonly skip?: number;
}

/** Marks a special token in the bytes of a text: 0xFF, which UTF-8 never has, before and after its name. */
const SPECIAL = 0xff;

const encoder = new TextEncoder();

/** The bytes by which grammars and vocabularies spell a special token, which no text contains. */
export const specialTokenBytes = (name: string): Uint8Array =>
  Uint8Array.of(SPECIAL, ...encoder.encode(name), SPECIAL);
