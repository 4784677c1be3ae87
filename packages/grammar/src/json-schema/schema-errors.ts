import { GrammarError } from "#grammar";
import type { Place } from "./budget.ts";

/** "At /properties/a, `not`", or "At the root, `not`". */
export const describePlace = ({ pointer, keyword }: Place): string =>
  `At ${pointer === "" ? "the root of the schema" : shorten(pointer)}${keyword === undefined ? "" : `, "${keyword}"`}`;

/** The end of a pointer, for messages. */
export const shorten = (pointer: string): string =>
  pointer.length > 200 ? `…${pointer.slice(-200)}` : pointer;

/** An error of a schema that is not well formed. */
export const badSchema = (reason: string, place: Place): GrammarError =>
  new GrammarError("bad_grammar", `${describePlace(place)} ${reason}.`, place);

/** An error of a schema that uses what cannot be enforced. */
export const unsupported = (reason: string, place: Place): GrammarError =>
  new GrammarError("unsupported", `${describePlace(place)} ${reason}.`, place);

/** An error of a keyword that needs the opposite of another one, which cannot be described. */
export const cannotNegate = (inner: string, place: Place): GrammarError =>
  unsupported(`cannot be enforced, because it needs the opposite of "${inner}"`, place);

/** An error of a schema that applies to the same value again and again. */
export class CyclicSchemaError extends GrammarError {
  constructor(place: Place) {
    super("bad_grammar", `${describePlace(place)} applies to the same value again without end.`, place);
  }
}
