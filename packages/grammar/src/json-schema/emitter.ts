import { Complexity } from "#automaton";
import {
  acceptsEmpty,
  concat,
  either,
  type Grammar,
  type GrammarSymbol,
  type Lexeme,
  literal,
  memo,
  only,
  type Regex,
} from "#grammar";
import type { Place } from "./budget.ts";
import { ArrayEmitter } from "./emit-array.ts";
import { ObjectEmitter } from "./emit-object.ts";
import type { Expander } from "./expander.ts";
import { isFormat } from "./formats.ts";
import type { Style } from "./json-text.ts";
import type { Languages } from "./languages.ts";
import { rangeText } from "./number-text.ts";
import { listRange, type NumberRange } from "./numbers.ts";
import type { RuleBuilder } from "./rule-builder.ts";
import { describePlace, unsupported } from "./schema-errors.ts";
import { EVERY_NAME, type Shape, type Term } from "./shapes.ts";
import { isNoString, languageOf, type StringSet } from "./strings.ts";

/** Texts that a regular expression describes one by one where others are excluded. */
const MAX_TRIED = 1000;

/** Writes the grammar of a term, in a style; a further one writes what is within. */
export class Emitter {
  readonly expander: Expander;
  readonly languages: Languages;
  readonly builder: RuleBuilder;
  readonly #style: Style;
  readonly #level: number;
  readonly #inner: Emitter;
  readonly #objects: ObjectEmitter;
  readonly #arrays: ArrayEmitter;
  readonly #rules = new Map<Term, { readonly rule: number }>();
  readonly #queue: Term[] = [];
  readonly #complexity = new Complexity();
  readonly #contents = new Map<Regex, string>();

  constructor({
    expander,
    languages,
    builder,
    styles: [style, next, ...others],
  }: {
    expander: Expander;
    languages: Languages;
    builder: RuleBuilder;
    styles: readonly [Style, ...Style[]];
  }) {
    this.expander = expander;
    this.languages = languages;
    this.builder = builder;
    this.#style = style;
    this.#inner =
      next === undefined ? this : new Emitter({ expander, languages, builder, styles: [next, ...others] });
    this.#level = next === undefined ? 0 : others.length + 1;
    this.#objects = new ObjectEmitter(this);
    this.#arrays = new ArrayEmitter(this);
  }

  /** The grammar of a term; undefined if it has no values. */
  emit(start: Term): Grammar | undefined {
    const rule = this.#value(start);
    this.#fillAll();
    return this.builder.build(rule);
  }

  #fillAll(): void {
    for (let term = this.#queue.pop(); term !== undefined; term = this.#queue.pop()) this.#fill(term);
    if (this.#inner !== this) this.#inner.#fillAll();
  }

  /** The rule of the values of a member or an item. */
  value(term: Term): GrammarSymbol {
    return this.#inner.#value(term);
  }

  /** The rule of a term's values, which is filled later: schemas may be deep, and refer to themselves. */
  #value(term: Term): GrammarSymbol {
    return memo(this.#rules, term, () => {
      this.#queue.push(term);
      return this.builder.rule("value");
    });
  }

  #fill(term: Term): void {
    const rule = this.#rules.get(term);
    if (rule === undefined) return;
    const shape = this.expander.expand(term);
    const place = { pointer: this.#pointer(term) };
    const { end, isOpen } = this.#style;
    const last = end === undefined ? [] : [this.#lexeme("end", () => ({ name: "end", regex: end }))];
    const arrays = shape.arrays.map((array) => this.#arrays.rule(array, place));
    const objects = shape.objects.map((object) => this.#objects.rule(object, place));
    const strings = isNoString(shape.strings) ? [] : this.#strings(shape.strings, place);
    const others = isOpen === true ? [] : [...this.#scalars(shape, place), ...strings, ...arrays];
    // strings have the text after a value within them
    const rules = [...others, ...objects].map((symbol) =>
      strings.includes(symbol) ? [symbol] : [symbol, ...last],
    );
    this.builder.add(rule, ...rules);
  }

  /** The lexeme of a key on this level. */
  #lexeme(key: string, make: () => Lexeme): GrammarSymbol {
    return this.builder.lexeme(`${this.#level} ${key}`, make);
  }

  #pointer(term: Term): string {
    const content = this.expander.terms.content(term);
    if (content.type === "schema") return content.node.pointer;
    if (content.type === "not") return content.place.pointer;
    if (content.type !== "and" && content.type !== "or") return "";
    return this.#pointer(content.terms[0] ?? 0);
  }

  #scalars(shape: Shape, place: Place): readonly GrammarSymbol[] {
    const symbols: GrammarSymbol[] = [];
    for (const word of [...(shape.hasNull ? ["null"] : []), ...shape.booleans.map(String)])
      symbols.push(this.#lexeme(word, () => ({ name: word, regex: this.#style.word(word) })));
    const numbers = shape.numbers.filter((range) => listRange(range, MAX_TRIED)?.length !== 0);
    if (numbers.length > 0) symbols.push(this.#numbers(numbers, place));
    return symbols;
  }

  #numbers(ranges: readonly NumberRange[], place: Place): GrammarSymbol {
    const texts = ranges.map((range) => {
      const text = rangeText(range);
      if (text === undefined)
        throw unsupported(
          "is refused: the multiples of this number have no pattern of a sensible size. Add a minimum and a maximum with at most 10,000 multiples between them",
          { ...place, keyword: "multipleOf" },
        );
      return text;
    });
    const regex = only(texts) ?? either(...texts);
    // the multiples of one number have few states, those of some numbers and not of others perhaps not
    if (ranges.some(({ multiples, others }) => others.length > Number(multiples.length === 0)))
      this.#check(regex, { ...place, keyword: "multipleOf" });
    return this.#lexeme(`number ${JSON.stringify(regex)}`, () => ({ name: "number", regex }));
  }

  #strings(set: StringSet, place: Place): readonly GrammarSymbol[] {
    if (set.type === "values") {
      const regex = this.#style.string(either(...set.values.map(literal)));
      return [this.#lexeme(`one of ${JSON.stringify(set.values)}`, () => ({ name: "string", regex }))];
    }
    const { parts, min, max } = set;
    if (parts.length === 0) {
      const regex = this.#style.ofLength(min, max);
      return [this.#lexeme(`length ${min} ${max}`, () => ({ name: "string", regex }))];
    }
    const language = languageOf(set);
    if (this.languages.isNothing(language)) return [];
    const key = `string ${this.#contentKey(language, parts)} ${min} ${max}`;
    return [
      this.#lexeme(key, () => {
        // a length counts beside the pattern, in which states may multiply
        const pattern = languageOf({ ...set, min: 0, max: null });
        if (!isFormat(pattern)) this.#check(pattern, place);
        return { name: "string", regex: this.#style.string(language) };
      }),
    ];
  }

  #check(language: Regex, place: Place): void {
    this.#complexity.check(language, { ...place, what: describePlace(place) });
  }

  #contentKey(language: Regex, parts: readonly Regex[]): string {
    const part = only(parts);
    if (part === undefined) return JSON.stringify(language);
    return memo(this.#contents, part, () => JSON.stringify(part));
  }

  /** A name of a member and what stands before its value. */
  name(name: string, place: Place): GrammarSymbol {
    const { names, name: write } = this.#style;
    if (!this.languages.matches(names, name)) {
      const at = { ...place, keyword: "properties" };
      throw unsupported(`is refused: ${JSON.stringify(name)} needs quotes, which names do not have here`, at);
    }
    return this.#lexeme(`name ${name}`, () => ({ name: JSON.stringify(name), regex: write(literal(name)) }));
  }

  /** Any name of a language but these, and what stands before its value; undefined if there is none. */
  otherName(
    names: Regex,
    { without, place }: { readonly without: readonly string[]; readonly place: Place },
  ): GrammarSymbol | undefined {
    const written = this.languages.intersect(names, this.#style.names);
    if (written === undefined) return undefined;
    const language = this.languages.without(written, without);
    if (written !== EVERY_NAME && this.languages.isNothing(language)) return undefined;
    return this.#lexeme(`names ${this.#contentKey(names, [names])} ${JSON.stringify(without)}`, () => {
      if (written !== EVERY_NAME) this.#check(language, place);
      return { name: "name", regex: this.#style.name(language) };
    });
  }

  /** No text at all. */
  readonly #none = (): GrammarSymbol => this.builder.rule("nothing", []);

  get comma(): GrammarSymbol {
    const { comma: regex } = this.#style;
    return acceptsEmpty(regex) ? this.#none() : this.#lexeme(",", () => ({ name: ",", regex }));
  }

  /** A bracket that opens, with the white space after it. */
  open(bracket: "{" | "["): GrammarSymbol {
    const { isOpen, open } = this.#style;
    if (isOpen === true) return this.#none();
    return this.#lexeme(bracket, () => ({ name: bracket, regex: concat(literal(bracket), open) }));
  }

  /** A bracket that closes; after something, white space may stand before it. */
  close(bracket: "}" | "]", isEmpty: boolean): GrammarSymbol {
    const { isOpen, close } = this.#style;
    if (isOpen === true) return this.#none();
    const regex = isEmpty ? literal(bracket) : concat(close, literal(bracket));
    return this.#lexeme(isEmpty ? bracket : ` ${bracket}`, () => ({ name: bracket, regex }));
  }
}
