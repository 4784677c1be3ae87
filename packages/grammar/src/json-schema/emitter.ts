import { Complexity, jsonStringContent } from "#automaton";
import {
  concat,
  either,
  type Grammar,
  type GrammarSymbol,
  type JsonWhitespace,
  literal,
  memo,
  only,
  type Regex,
  repeat,
} from "#grammar";
import type { Budget, Place } from "./budget.ts";
import { ArrayEmitter } from "./emit-array.ts";
import { ObjectEmitter } from "./emit-object.ts";
import type { Expander } from "./expander.ts";
import { isFormat } from "./formats.ts";
import { JSON_CHARACTER, type Punctuation, punctuation, quoted } from "./json-text.ts";
import type { Languages } from "./languages.ts";
import { rangeText } from "./number-text.ts";
import { listRange, type NumberRange } from "./numbers.ts";
import { RuleBuilder } from "./rule-builder.ts";
import { describePlace, unsupported } from "./schema-errors.ts";
import { EVERY_NAME, type Shape, type Term } from "./shapes.ts";
import { isNoString, languageOf, type StringSet } from "./strings.ts";

/** Texts that a regular expression describes one by one where others are excluded. */
const MAX_TRIED = 1000;

/** Writes the grammar of a term. */
export class Emitter {
  readonly expander: Expander;
  readonly languages: Languages;
  readonly builder: RuleBuilder;
  readonly punctuation: Punctuation;
  readonly #objects: ObjectEmitter;
  readonly #arrays: ArrayEmitter;
  readonly #rules = new Map<Term, { readonly rule: number }>();
  readonly #queue: Term[] = [];
  readonly #complexity = new Complexity();
  readonly #contents = new Map<Regex, string>();

  constructor({
    expander,
    languages,
    budget,
    whitespace,
  }: {
    expander: Expander;
    languages: Languages;
    budget: Budget;
    whitespace: JsonWhitespace;
  }) {
    this.expander = expander;
    this.languages = languages;
    this.builder = new RuleBuilder(budget);
    this.punctuation = punctuation(whitespace);
    this.#objects = new ObjectEmitter(this);
    this.#arrays = new ArrayEmitter(this);
  }

  /** The grammar of a term; undefined if it has no values. */
  emit(start: Term): Grammar | undefined {
    const rule = this.value(start);
    for (let term = this.#queue.pop(); term !== undefined; term = this.#queue.pop()) this.#fill(term);
    return this.builder.build(rule);
  }

  /** The rule of a term's values, which is filled later: schemas may be deep, and refer to themselves. */
  value(term: Term): GrammarSymbol {
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
    const scalars = this.#scalars(shape, place).map((symbol) => [symbol]);
    const arrays = shape.arrays.map((array) => [this.#arrays.rule(array, place)]);
    const objects = shape.objects.map((object) => [this.#objects.rule(object, place)]);
    this.builder.add(rule, ...scalars, ...arrays, ...objects);
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
      symbols.push(this.builder.lexeme(word, () => ({ name: word, regex: literal(word) })));
    const numbers = shape.numbers.filter((range) => listRange(range, MAX_TRIED)?.length !== 0);
    if (numbers.length > 0) symbols.push(this.#numbers(numbers, place));
    if (!isNoString(shape.strings)) symbols.push(...this.#strings(shape.strings, place));
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
    return this.builder.lexeme(`number ${JSON.stringify(regex)}`, () => ({ name: "number", regex }));
  }

  #strings(set: StringSet, place: Place): readonly GrammarSymbol[] {
    if (set.type === "values") {
      const spelled = set.values.map((value) => JSON.stringify(value));
      const regex = either(...spelled.map(literal));
      return [this.builder.lexeme(`one of ${spelled.join()}`, () => ({ name: "string", regex }))];
    }
    const { parts, min, max } = set;
    if (parts.length === 0) {
      const regex = quoted(repeat(JSON_CHARACTER, min, max));
      return [this.builder.lexeme(`length ${min} ${max}`, () => ({ name: "string", regex }))];
    }
    const language = languageOf(set);
    if (this.languages.isNothing(language)) return [];
    const key = `string ${this.#contentKey(language, parts)} ${min} ${max}`;
    return [
      this.builder.lexeme(key, () => {
        // a length counts beside the pattern, in which states may multiply
        const pattern = languageOf({ ...set, min: 0, max: null });
        if (!isFormat(pattern)) this.#check(pattern, place);
        return { name: "string", regex: quoted(jsonStringContent(language)) };
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

  /** A name of a member and the colon after it. */
  name(name: string): GrammarSymbol {
    const text = JSON.stringify(name);
    return this.builder.lexeme(`name ${text}`, () => ({
      name: text,
      regex: concat(literal(text), this.punctuation.colon),
    }));
  }

  /** Any name of a language but these, and the colon after it; undefined if there is none. */
  otherName(
    names: Regex,
    { without, place }: { readonly without: readonly string[]; readonly place: Place },
  ): GrammarSymbol | undefined {
    const language = this.languages.without(names, without);
    if (names !== EVERY_NAME && this.languages.isNothing(language)) return undefined;
    return this.builder.lexeme(`names ${this.#contentKey(names, [names])} ${JSON.stringify(without)}`, () => {
      if (names !== EVERY_NAME) this.#check(language, place);
      return { name: "name", regex: concat(quoted(jsonStringContent(language)), this.punctuation.colon) };
    });
  }

  get comma(): GrammarSymbol {
    return this.builder.lexeme(",", () => ({ name: ",", regex: this.punctuation.comma }));
  }

  /** A bracket that opens, with the white space after it. */
  open(bracket: "{" | "["): GrammarSymbol {
    return this.builder.lexeme(bracket, () => ({
      name: bracket,
      regex: concat(literal(bracket), this.punctuation.open),
    }));
  }

  /** A bracket that closes; after something, white space may stand before it. */
  close(bracket: "}" | "]", isEmpty: boolean): GrammarSymbol {
    return this.builder.lexeme(isEmpty ? bracket : ` ${bracket}`, () => ({
      name: bracket,
      regex: isEmpty ? literal(bracket) : concat(this.punctuation.close, literal(bracket)),
    }));
  }
}
