import { GrammarError } from "#grammar";
import { DOT } from "./pattern-classes.ts";
import {
  alternativesNode,
  classNode,
  EMPTY_NODE,
  type PatternNode,
  repeatNode,
  sequenceNode,
  Uses,
} from "./pattern-nodes.ts";
import { PatternReader, readClassBody, readClassEscape, readEscapedPoint } from "./pattern-reader.ts";

/** Groups within groups at most. */
const NESTED_GROUPS = 500;

const START: PatternNode = { type: "start", uses: Uses.Start };
const END: PatternNode = { type: "end", uses: Uses.End };

/** Beginnings of groups, with the longest first. `?P<` is how Python and Rust spell `?<`. */
const LOOKS = [
  { begin: "?<=", isAhead: false, isNegative: false },
  { begin: "?<!", isAhead: false, isNegative: true },
  { begin: "?=", isAhead: true, isNegative: false },
  { begin: "?!", isAhead: true, isNegative: true },
] as const;

/** Reads a pattern of ECMAScript with the flag u, or one with the leniencies of its Annex B that have one meaning only. */
class PatternParser {
  readonly #reader: PatternReader;
  #depth = 0;

  constructor(pattern: string) {
    this.#reader = new PatternReader(pattern);
  }

  parse(): PatternNode {
    const node = this.#readAlternatives();
    if (!this.#reader.isAtEnd) throw this.#reader.bad("there is a ) without a (");
    return node;
  }

  #readAlternatives(): PatternNode {
    const options = [this.#readSequence()];
    while (this.#reader.take("|")) options.push(this.#readSequence());
    return alternativesNode(options);
  }

  #readSequence(): PatternNode {
    const parts: PatternNode[] = [];
    while (!this.#reader.isAtEnd && !this.#reader.isAt("|") && !this.#reader.isAt(")")) {
      parts.push(this.#readQuantifier(this.#readAtom()));
    }
    return sequenceNode(parts);
  }

  #readAtom(): PatternNode {
    const reader = this.#reader;
    if (reader.take("(")) return this.#readGroup();
    if (reader.take("[")) return classNode(readClassBody(reader));
    if (reader.take("\\")) return this.#readEscape();
    if (reader.take(".")) return classNode(DOT);
    if (reader.take("^")) return START;
    if (reader.take("$")) return END;
    const [sign] = reader.match(/[*+?]/y) ?? [];
    if (sign !== undefined) throw reader.bad(`there is nothing before ${sign} to repeat`);
    if (/^\{\d*(?:,\d*)?\}/.test(reader.rest(40))) {
      throw reader.bad("there is nothing before { to repeat; write \\{ for the character");
    }
    const point = reader.nextPoint();
    return classNode([[point, point]]);
  }

  #readGroup(): PatternNode {
    const reader = this.#reader;
    if (++this.#depth > NESTED_GROUPS) {
      throw new GrammarError("limit", `a pattern has more than ${NESTED_GROUPS} groups within each other`);
    }
    const look = LOOKS.find(({ begin }) => reader.take(begin));
    if (look === undefined) this.#readGroupHead();
    const inside = this.#readAlternatives();
    if (!reader.take(")")) throw reader.bad("a group has no )");
    this.#depth--;
    if (look === undefined) return inside;
    const { isAhead, isNegative } = look;
    const uses = inside.uses | (isAhead ? Uses.Ahead : Uses.Behind);
    return { type: "look", isAhead, isNegative, of: inside, uses };
  }

  #readGroupHead(): void {
    const reader = this.#reader;
    if (!reader.isAt("?") || reader.take("?:")) return;
    if (reader.match(/\?P?<[\p{ID_Start}$_][\p{ID_Continue}$]*>/uy) === undefined)
      throw reader.unsupported(`(${reader.rest(3)}`, "groups begin with (, (?:, (?<name>, (?= or (?!");
  }

  #readEscape(): PatternNode {
    const reader = this.#reader;
    const ranges = readClassEscape(reader);
    if (ranges !== undefined) return classNode(ranges);
    const letter = reader.rest(1);
    if (letter === "b" || letter === "B") {
      reader.take(letter);
      return { type: "word", isNegative: letter === "B", uses: Uses.Word };
    }
    if (/[1-9]/.test(letter) || /^k</.test(reader.rest(2))) {
      throw reader.unsupported("backreference", "no grammar of this kind can compare two parts of a text");
    }
    const point = readEscapedPoint(reader);
    return classNode([[point, point]]);
  }

  #readQuantifier(atom: PatternNode): PatternNode {
    const reader = this.#reader;
    const bounds = this.#readBounds();
    if (bounds === undefined) return atom;
    // a lazy quantifier matches the same texts
    reader.take("?");
    if (/[*+?]/.test(reader.rest(1)) || this.#readBounds() !== undefined) {
      throw reader.bad("two quantifiers follow each other; put the first in a group");
    }
    const { min, max } = bounds;
    if (max !== null && max < min) throw reader.bad(`{${min},${max}} has its numbers out of order`);
    return max === 0 ? EMPTY_NODE : repeatNode(atom, { min, max });
  }

  #readBounds(): { min: number; max: number | null } | undefined {
    const reader = this.#reader;
    if (reader.take("*")) return { min: 0, max: null };
    if (reader.take("+")) return { min: 1, max: null };
    if (reader.take("?")) return { min: 0, max: 1 };
    const braces = reader.match(/\{(\d+)(,(\d*))?\}/y);
    if (braces === undefined) {
      if (/^\{,\d+\}/.test(reader.rest(60))) {
        throw reader.bad(
          "{,n} means n in some dialects and the characters themselves in others; write {0,n}",
        );
      }
      return undefined;
    }
    const [, min = "", comma, max = ""] = braces;
    if (comma === undefined) return { min: Number(min), max: Number(min) };
    return { min: Number(min), max: max === "" ? null : Number(max) };
  }
}

export const readPattern = (pattern: string): PatternNode => new PatternParser(pattern).parse();
