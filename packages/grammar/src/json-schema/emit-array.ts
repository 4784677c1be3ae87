import { type GrammarSymbol, memo } from "#grammar";
import { itemAt } from "./arrays.ts";
import type { Place } from "./budget.ts";
import { textOf } from "./decimal.ts";
import type { Emitter } from "./emitter.ts";
import { listRange } from "./numbers.ts";
import { unsupported } from "./schema-errors.ts";
import { type ArrayShape, type Contained, FALSE, type Term } from "./shapes.ts";

/** Rules for one array whose items are counted by kind. */
const MAX_STATES = 5000;
/** Values of unique items, all of whose sets have a rule each. */
const MAX_VALUES = 8;
const MAX_CONTAINS = 4;

/** How far an array has come: its items, and those counted for each `contains`. */
interface State {
  readonly index: number;
  readonly counts: readonly number[];
}

/** Writes arrays. */
export class ArrayEmitter {
  readonly #emitter: Emitter;
  readonly #rules = new Map<ArrayShape, GrammarSymbol>();

  constructor(emitter: Emitter) {
    this.#emitter = emitter;
  }

  rule(shape: ArrayShape, place: Place): GrammarSymbol {
    const known = this.#rules.get(shape);
    if (known !== undefined) return known;
    const rule = this.#emitter.builder.rule("array");
    this.#rules.set(shape, rule);
    const content = shape.isUnique
      ? this.#unique(shape, place)
      : shape.contains.length > 0
        ? this.#counted(shape, place)
        : this.#items(shape);
    this.#emitter.builder.add(rule, [this.#emitter.open("["), content]);
    return rule;
  }

  #close(index: number): GrammarSymbol {
    return this.#emitter.close("]", index === 0);
  }

  /** The item at an index, with the comma before it. */
  #item(index: number, term: Term): readonly GrammarSymbol[] {
    const value = this.#emitter.value(term);
    return index === 0 ? [value] : [this.#emitter.comma, value];
  }

  /** All that follows the bracket of an array whose items depend on their index only. */
  #items(shape: ArrayShape): GrammarSymbol {
    const { builder } = this.#emitter;
    const { prefix, min } = shape;
    let state: GrammarSymbol = builder.rule("items", ...this.#afterPrefix(shape));
    for (let index = prefix.length - 1; index >= 0; index--) {
      const symbols: readonly GrammarSymbol[] = [...this.#item(index, prefix[index] ?? FALSE), state];
      state = builder.rule("items", symbols, ...(index >= min ? [[this.#close(index)]] : []));
    }
    return state;
  }

  #afterPrefix({ prefix, rest, min, max }: ArrayShape): readonly (readonly GrammarSymbol[])[] {
    const { builder, comma } = this.#emitter;
    const last = prefix.length;
    const few = Math.max(0, min - last);
    const many = max === null ? null : max - last;
    if (rest === FALSE || many === 0) return few > 0 ? [] : [[this.#close(last)]];
    const value = this.#emitter.value(rest);
    const next = builder.rule("next item", [comma, value]);
    if (last > 0) return [[...builder.repeat(next, few, many), this.#close(last)]];
    const further = builder.repeat(next, Math.max(0, few - 1), many === null ? null : many - 1);
    const some = [value, ...further, this.#close(1)];
    return few === 0 ? [[this.#close(0)], some] : [some];
  }

  /** All that follows the bracket of an array with `contains`. */
  #counted(shape: ArrayShape, place: Place): GrammarSymbol {
    const { builder } = this.#emitter;
    const { prefix, min, max, contains } = shape;
    if (contains.length > MAX_CONTAINS) throw tooManyStates(place);
    const last = max ?? Math.max(1, prefix.length, min, ...contains.map(({ from }) => from));
    const states = new Map<string, { readonly rule: number; readonly state: State }>();
    const at = (state: State): GrammarSymbol => {
      const { rule } = memo(states, JSON.stringify(state), () => {
        if (states.size > MAX_STATES) throw tooManyStates(place);
        return { ...builder.rule("items"), state };
      });
      return { rule };
    };
    const start = at({ index: 0, counts: contains.map(() => 0) });
    // the map grows while it is read
    for (const { rule, state } of states.values()) {
      const { index, counts } = state;
      if (index >= min && counts.every((count, which) => count >= (contains[which]?.min ?? 0)))
        builder.add({ rule }, [this.#close(index)]);
      if (max !== null && index >= max) continue;
      for (const { term, next } of this.#choices(shape, state, place))
        builder.add({ rule }, [
          ...this.#item(index, term),
          at({ index: Math.min(index + 1, last), counts: next }),
        ]);
    }
    return start;
  }

  /** The kinds of the next item: each `contains` counts it or does not. */
  #choices(
    shape: ArrayShape,
    { index, counts }: State,
    place: Place,
  ): readonly { term: Term; next: readonly number[] }[] {
    const { terms } = this.#emitter.expander;
    let choices: readonly { term: Term; next: readonly number[] }[] = [
      { term: itemAt(shape, index), next: [] },
    ];
    for (const [which, contained] of shape.contains.entries()) {
      const count = counts[which] ?? 0;
      choices = choices.flatMap(({ term, next }) =>
        index < contained.from
          ? [{ term, next: [...next, count] }]
          : this.#count(contained, { term, count, place }).map((choice) => ({
              term: choice.term,
              next: [...next, choice.count],
            })),
      );
    }
    return choices.filter(({ term }) => term !== FALSE && terms.content(term).type !== "false");
  }

  #count(
    { value, min, max }: Contained,
    { term, count, place }: { term: Term; count: number; place: Place },
  ): readonly { term: Term; count: number }[] {
    const { terms } = this.#emitter.expander;
    const counted = {
      term: terms.and(term, value),
      count: max === null ? Math.min(min, count + 1) : count + 1,
    };
    if (max === null) return count >= min ? [{ term, count }] : [counted, { term, count }];
    const other = { term: terms.and(term, terms.not(value, { ...place, keyword: "maxContains" })), count };
    return count >= max ? [other] : [counted, other];
  }

  /** All that follows the bracket of an array of different items, which must be few values. */
  #unique(shape: ArrayShape, place: Place): GrammarSymbol {
    const { builder, expander } = this.#emitter;
    const values = this.#uniqueValues(shape, { ...place, keyword: "uniqueItems" });
    const all = [...new Set(values.flat())];
    const states = new Map<number, { readonly rule: number }>();
    const at = (used: number): { readonly rule: number } => memo(states, used, () => builder.rule("items"));
    const start = at(0);
    // the map grows while it is read
    for (const [used, rule] of states) {
      const isUsed = (which: number): boolean => ((used >> which) & 1) === 1;
      const index = all.filter((_, which) => isUsed(which)).length;
      if (index >= shape.min) builder.add(rule, [this.#close(index)]);
      if (shape.max !== null && index >= shape.max) continue;
      const allowed = values[Math.min(index, values.length - 1)] ?? [];
      const next = all.filter((value, which) => !isUsed(which) && allowed.includes(value));
      for (const value of next) {
        const item = this.#item(index, expander.terms.value(value));
        builder.add(rule, [...item, at(used | (1 << all.indexOf(value)))]);
      }
    }
    return start;
  }

  /** The values of unique items, by index; those of the last index hold for all further ones. */
  #uniqueValues(shape: ArrayShape, place: Place): readonly (readonly unknown[])[] {
    if (shape.contains.length > 0) throw unsupported('is refused beside "contains"', place);
    const count = Math.min(shape.max ?? MAX_VALUES + 1, shape.prefix.length + 1, MAX_VALUES + 1);
    const values = Array.from({ length: count }, (_, index) => this.#values(itemAt(shape, index)));
    const known = values.filter((one) => one !== undefined);
    if (known.length < values.length || new Set(known.flat()).size > MAX_VALUES)
      throw unsupported(
        `is refused: it can be enforced where there is at most one item, or items have at most ${MAX_VALUES} possible values`,
        place,
      );
    return known;
  }

  /** The values of a term, if they are few scalars. */
  #values(term: Term): readonly unknown[] | undefined {
    const { hasNull, booleans, numbers, strings, arrays, objects } = this.#emitter.expander.expand(term);
    if (arrays.length > 0 || objects.length > 0 || strings.type !== "values") return undefined;
    const listed = numbers.map((range) => listRange(range, MAX_VALUES + 1));
    if (listed.includes(undefined)) return undefined;
    const known = listed.flatMap((values) => values ?? []).map((value) => Number(textOf(value)));
    return [...(hasNull ? [null] : []), ...booleans, ...new Set(known), ...strings.values];
  }
}

const tooManyStates = (place: Place): Error =>
  unsupported("is refused: too many items must be counted", { ...place, keyword: "contains" });
