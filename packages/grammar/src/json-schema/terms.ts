import { memo } from "#grammar";
import type { Place } from "./budget.ts";
import type { SchemaNode } from "./documents.ts";
import { FALSE, type Term, TRUE } from "./shapes.ts";

/** What a term stands for. */
type TermContent =
  | { readonly type: "true" }
  | { readonly type: "false" }
  | { readonly type: "schema"; readonly node: SchemaNode }
  | { readonly type: "value"; readonly value: unknown }
  | { readonly type: "and" | "or"; readonly terms: readonly Term[] }
  | { readonly type: "not"; readonly term: Term; readonly place: Place };

/** Sets of values as formulas over schemas. Equal formulas are the same term, so recursive schemas have finitely many. */
export class Terms {
  readonly #contents: TermContent[] = [{ type: "true" }, { type: "false" }];
  readonly #byKey = new Map<string, Term>();
  readonly #byValue = new Map<unknown, Term>();

  content(term: Term): TermContent {
    return this.#contents[term] ?? { type: "false" };
  }

  schema(node: SchemaNode): Term {
    return this.#intern(`s${node.id}`, () => ({ type: "schema", node }));
  }

  /** One JSON value; objects and arrays are compared by identity. */
  value(value: unknown): Term {
    const key = typeof value === "number" && value === 0 ? 0 : value;
    return memo(this.#byValue, key, () => this.#contents.push({ type: "value", value }) - 1);
  }

  and(...terms: readonly Term[]): Term {
    return this.#combine("and", terms);
  }

  or(...terms: readonly Term[]): Term {
    return this.#combine("or", terms);
  }

  /** All other values; the place is that of the keyword which is refused if they cannot be described. */
  not(term: Term, place: Place): Term {
    if (term === TRUE) return FALSE;
    if (term === FALSE) return TRUE;
    const content = this.content(term);
    if (content.type === "not") return content.term;
    return this.#intern(`!${term}`, () => ({ type: "not", term, place }));
  }

  #combine(type: "and" | "or", terms: readonly Term[]): Term {
    const [neutral, absorbing] = type === "and" ? [TRUE, FALSE] : [FALSE, TRUE];
    const set = new Set<Term>();
    for (const term of terms) {
      if (term === absorbing) return absorbing;
      const content = this.content(term);
      if (content.type === type) for (const one of content.terms) set.add(one);
      else if (term !== neutral) set.add(term);
    }
    if (this.#hasOpposites(set)) return absorbing;
    const [first = neutral, ...others] = set;
    if (others.length === 0) return first;
    // the key ignores the order, which only decides in which order members are written
    const key = [...set].sort((a, b) => a - b).join();
    return this.#intern(`${type}${key}`, () => ({ type, terms: [...set] }));
  }

  /** Whether a term and its opposite are in a set. */
  #hasOpposites(set: ReadonlySet<Term>): boolean {
    for (const term of set) {
      const content = this.content(term);
      if (content.type === "not" && set.has(content.term)) return true;
    }
    return false;
  }

  #intern(key: string, content: () => TermContent): Term {
    return memo(this.#byKey, key, () => this.#contents.push(content()) - 1);
  }
}
