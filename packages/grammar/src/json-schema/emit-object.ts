import { type GrammarSymbol, memo } from "#grammar";
import type { Place } from "./budget.ts";
import type { Emitter } from "./emitter.ts";
import { memberValue } from "./objects.ts";
import { unsupported } from "./schema-errors.ts";
import { FALSE, type ObjectShape, type Region, type Term } from "./shapes.ts";

/** Rules for one object with a number of members to be kept in mind. */
const MAX_STATES = 100_000;
/** Witnesses that may come in any order. */
const MAX_WITNESSES = 3;

interface Member {
  readonly name: string;
  readonly value: Term;
  readonly isRequired: boolean;
}

/** An object whose witnesses are among the members without a name of their own. */
interface Plan {
  readonly shape: ObjectShape;
  readonly members: readonly Member[];
  readonly place: Place;
  /** Members beside the named ones, and those of which there must be one each. */
  readonly other: GrammarSymbol | undefined;
  readonly witnesses: readonly GrammarSymbol[];
  readonly min: number;
  readonly max: number | null;
  /** The count of members from which on it does not matter. */
  readonly cap: number;
  /** Rules by index of the next member and count of members before it. */
  readonly states: Map<number, { readonly rule: number }>;
}

/** Writes objects: named members in the order of the schema, then others. */
export class ObjectEmitter {
  readonly #emitter: Emitter;
  readonly #rules = new Map<ObjectShape, GrammarSymbol>();

  constructor(emitter: Emitter) {
    this.#emitter = emitter;
  }

  rule(shape: ObjectShape, place: Place): GrammarSymbol {
    const known = this.#rules.get(shape);
    if (known !== undefined) return known;
    const rule = this.#emitter.builder.rule("object");
    this.#rules.set(shape, rule);
    for (const { shape: settled, witnesses } of this.#settle(shape, place)) {
      const plan = this.#plan(settled, witnesses, place);
      if (plan !== undefined) this.#emitter.builder.add(rule, [this.#emitter.open("{"), this.#members(plan)]);
    }
    return rule;
  }

  /** Each witness is a member with a name, or one of the others. */
  #settle(shape: ObjectShape, place: Place): readonly { shape: ObjectShape; witnesses: readonly Region[] }[] {
    const { terms } = this.#emitter.expander;
    let settled: readonly { shape: ObjectShape; witnesses: readonly Region[] }[] = [{ shape, witnesses: [] }];
    for (const witness of shape.witnesses) {
      const names = [...shape.properties.keys()].filter((name) =>
        this.#emitter.languages.matches(witness.names, name),
      );
      settled = settled.flatMap(({ shape: one, witnesses }) => [
        ...names.map((name) => ({
          shape: {
            ...one,
            properties: new Map(one.properties).set(
              name,
              terms.and(one.properties.get(name) ?? FALSE, witness.value),
            ),
            required: new Set([...one.required, name]),
          },
          witnesses,
        })),
        { shape: one, witnesses: [...witnesses, witness] },
      ]);
      if (settled.length > MAX_STATES) throw tooMany(place);
    }
    return settled;
  }

  #plan(shape: ObjectShape, witnesses: readonly Region[], place: Place): Plan | undefined {
    const { languages } = this.#emitter;
    if (witnesses.length > MAX_WITNESSES)
      throw unsupported(
        `is refused: more than ${MAX_WITNESSES} members of unknown names are demanded`,
        place,
      );
    const extra = [...shape.required].filter((name) => !shape.properties.has(name));
    const named: readonly Member[] = [
      ...Array.from(shape.properties, ([name, value]) => ({
        name,
        value,
        isRequired: shape.required.has(name),
      })),
      ...extra.map((name) => ({ name, value: memberValue(shape, name, languages), isRequired: true })),
    ];
    const members = named.filter(({ value, isRequired }) => value !== FALSE || isRequired);
    if (members.some(({ value, isRequired }) => isRequired && value === FALSE)) return undefined;
    const names = named.map(({ name }) => name);
    const other = this.#others(shape.regions, { names, place });
    const demanded = witnesses.map((witness) =>
      this.#others(this.#witnessRegions(shape, witness), { names, place }),
    );
    const found = demanded.filter((symbol) => symbol !== undefined);
    if (found.length < demanded.length) return undefined;
    const required = shape.required.size + found.length;
    const min = required >= shape.min ? 0 : shape.min;
    const max = other === undefined && shape.max !== null && members.length <= shape.max ? null : shape.max;
    const cap = max ?? Math.max(1, min);
    const isCounted = members.some(({ isRequired }) => !isRequired);
    if (isCounted && members.length * Math.min(cap, members.length) > MAX_STATES) throw tooMany(place);
    return { shape, members, place, other, witnesses: found, min, max, cap, states: new Map() };
  }

  #witnessRegions(shape: ObjectShape, witness: Region): readonly Region[] {
    const { languages, expander } = this.#emitter;
    return shape.regions.flatMap(({ names, value }) => {
      const both = languages.intersect(names, witness.names);
      return both === undefined ? [] : [{ names: both, value: expander.terms.and(value, witness.value) }];
    });
  }

  /** A member of one of these regions with a name other than these. */
  #others(
    regions: readonly Region[],
    { names, place }: { readonly names: readonly string[]; readonly place: Place },
  ): GrammarSymbol | undefined {
    const { builder, languages } = this.#emitter;
    const alternatives = regions
      .filter(({ value }) => value !== FALSE)
      .flatMap((region) => {
        const without = names.filter((name) => languages.matches(region.names, name));
        const symbol = this.#emitter.otherName(region.names, { without, place });
        return symbol === undefined ? [] : [[symbol, this.#emitter.value(region.value)]];
      });
    return alternatives.length === 0 ? undefined : builder.rule("member", ...alternatives);
  }

  /** Rules for all that follows the bracket, one for each next member and count that can come up. */
  #members(plan: Plan): GrammarSymbol {
    const start = this.#state(plan, 0, 0);
    const counts = plan.cap + 1;
    // the map grows while it is read
    for (const [key, rule] of plan.states)
      this.#fill(plan, { index: Math.floor(key / counts), count: key % counts, rule });
    return start;
  }

  #state(plan: Plan, index: number, count: number): GrammarSymbol {
    const key = index * (plan.cap + 1) + count;
    return memo(plan.states, key, () => this.#emitter.builder.rule("members"));
  }

  #fill(
    plan: Plan,
    { index, count, rule }: { index: number; count: number; rule: { readonly rule: number } },
  ): void {
    const { builder } = this.#emitter;
    const member = plan.members[index];
    if (member === undefined) {
      for (const rest of this.#rest(plan, count)) builder.add(rule, rest);
      return;
    }
    if (!member.isRequired) builder.add(rule, [this.#state(plan, index + 1, count)]);
    const symbols: GrammarSymbol[] = [];
    let next = index;
    let total = count;
    // required members that follow each other need no rules of their own
    for (
      let one: Member | undefined = member;
      one !== undefined && (next === index || one.isRequired);
      one = plan.members[next]
    ) {
      if (plan.max !== null && total === plan.max) return;
      if (total > 0) symbols.push(this.#emitter.comma);
      symbols.push(this.#emitter.name(one.name, plan.place), this.#emitter.value(one.value));
      total = plan.max === null ? Math.min(plan.cap, total + 1) : total + 1;
      next++;
    }
    builder.add(rule, [...symbols, this.#state(plan, next, total)]);
  }

  /** What may follow the named members, with the bracket that closes. */
  #rest(plan: Plan, count: number): readonly (readonly GrammarSymbol[])[] {
    const { builder, comma } = this.#emitter;
    const { other, witnesses } = plan;
    const close = this.#emitter.close("}", false);
    const min = Math.max(0, plan.min - count - witnesses.length);
    const max = plan.max === null ? null : plan.max - count - witnesses.length;
    if (max !== null && max < min) return [];
    if (witnesses.length > 0)
      return this.#witnessed(plan, count, { min, max }).map((rest) => [...rest, close]);
    const end = count === 0 ? this.#emitter.close("}", true) : close;
    if (other === undefined || max === 0) return min > 0 ? [] : [[end]];
    const next = builder.rule("next member", [comma, other]);
    if (count > 0) return [[...builder.repeat(next, min, max), close]];
    const further = builder.repeat(next, Math.max(0, min - 1), max === null ? null : max - 1);
    const some = [other, ...further, close];
    return min === 0 ? [[end], some] : [some];
  }

  /** The demanded members in every order, with others before, between and after them. */
  #witnessed(
    plan: Plan,
    count: number,
    { min, max }: { min: number; max: number | null },
  ): readonly (readonly GrammarSymbol[])[] {
    const { builder, comma } = this.#emitter;
    const { other, witnesses, place } = plan;
    if (min > 0 || max !== null)
      throw unsupported("is refused: it counts members beside others of unknown names that are demanded", {
        ...place,
        keyword: min > 0 ? "minProperties" : "maxProperties",
      });
    if (other === undefined) return [];
    const others = builder.repeat(builder.rule("next member", [comma, other]), 0, null);
    const before = builder.rule("members before", []);
    builder.add(before, [before, other, comma]);
    return permutations(witnesses).map(([first, ...further]) => [
      ...(count > 0 ? [...others, comma] : [before]),
      ...(first === undefined ? [] : [first]),
      ...further.flatMap((witness) => [...others, comma, witness]),
      ...others,
    ]);
  }
}

function permutations<T>(values: readonly T[]): readonly (readonly T[])[] {
  if (values.length === 0) return [[]];
  return values.flatMap((value, index) =>
    permutations(values.filter((_, position) => position !== index)).map((rest) => [value, ...rest]),
  );
}

const tooMany = (place: Place): Error =>
  unsupported("is refused: too many combinations of optional members and their number", {
    ...place,
    keyword: "minProperties",
  });
