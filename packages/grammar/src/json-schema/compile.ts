import { type Grammar, GrammarError, type JsonWhitespace, type Notation } from "#grammar";
import { Budget, DEFAULT_LIMITS, type SchemaLimits } from "./budget.ts";
import { SchemaDocument } from "./documents.ts";
import { Emitter } from "./emitter.ts";
import { Expander } from "./expander.ts";
import { stylesOf } from "./json-text.ts";
import { Languages } from "./languages.ts";
import { RuleBuilder } from "./rule-builder.ts";
import { Terms } from "./terms.ts";

/** Options of {@link compileSchema}. */
export interface SchemaOptions {
  /** "flexible" unless given. */
  readonly whitespace?: JsonWhitespace | undefined;
  /** JSON unless given. */
  readonly notation?: Notation | undefined;
  readonly limits?: Partial<SchemaLimits> | undefined;
}

/**
 * Grammar of the JSON values that a schema of JSON Schema 2020-12 allows, or of an earlier draft from 4 on. Members are written in
 * the order of `properties`, then those that are only in `required`, then others.
 *
 * @throws {@link GrammarError} with a JSON pointer and a keyword: "bad_grammar" for a schema that is not well formed or allows no
 * value, "unsupported" for a keyword that cannot be enforced, "limit" for a schema that is too large.
 */
export function compileSchema(
  schema: unknown,
  { whitespace = "flexible", notation, limits }: SchemaOptions = {},
): Grammar {
  const budget = new Budget({ ...DEFAULT_LIMITS, ...limits });
  const document = new SchemaDocument(schema, budget);
  const languages = new Languages(budget);
  const expander = new Expander({ document, languages, budget, terms: new Terms() });
  const builder = new RuleBuilder(budget);
  const emitter = new Emitter({ expander, languages, builder, styles: stylesOf(whitespace, notation) });
  const grammar = emitter.emit(expander.reader.root());
  if (grammar === undefined)
    throw new GrammarError("bad_grammar", "The schema allows no value at all.", { pointer: "" });
  return grammar;
}

/** Grammar of any JSON object. */
export const jsonObjectGrammar = (whitespace: JsonWhitespace = "flexible"): Grammar =>
  compileSchema({ type: "object" }, { whitespace });
