import { partsOf, type Regex } from "#grammar";
import { EMPTY, INFINITY, NOTHING } from "./kinds.ts";
import type { Builder } from "./node-builder.ts";
import { addClass } from "./utf8.ts";
import type { Word } from "./words.ts";

const encoder = new TextEncoder();

/** Bytes of a literal; undefined for other expressions. */
export function bytesOfLiteral(regex: Regex): Uint8Array | undefined {
  if (regex.type === "literal") return encoder.encode(regex.text);
  return regex.type === "bytes" ? Uint8Array.from(regex.bytes) : undefined;
}

/** Parts that sequences within a sequence add to it at most: an object that occurs often could have very many. */
const FLAT_PARTS = 1000;

/** Parts of a sequence, with those of sequences in it in their place, unless there are too many. */
function flattenConcat(parts: readonly Regex[]): readonly Regex[] {
  if (parts.every(({ type }) => type !== "concat")) return parts;
  const flat: Regex[] = [];
  const waiting = [...parts].reverse();
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (flat.length + waiting.length > parts.length + FLAT_PARTS) return parts;
    if (next.type !== "concat") flat.push(next);
    else for (let index = next.parts.length - 1; index >= 0; index--) waiting.push(next.parts[index] ?? next);
  }
  return flat;
}

/** A word at the beginning of an alternative, with what follows it. */
interface WordOption {
  readonly bytes: Uint8Array;
  readonly rest: readonly Regex[];
}

function wordOf(option: Regex): WordOption | undefined {
  const parts = option.type === "concat" ? flattenConcat(option.parts) : [option];
  const [head] = parts;
  const bytes = head === undefined ? undefined : bytesOfLiteral(head);
  return bytes === undefined || bytes.length === 0 ? undefined : { bytes, rest: parts.slice(1) };
}

/** The expressions that must be known before this one. */
function listParts(regex: Regex): readonly Regex[] {
  switch (regex.type) {
    case "concat":
      return flattenConcat(regex.parts);
    case "either":
      return regex.options.flatMap((option) =>
        option.type === "literal" && option.text !== "" ? [] : (wordOf(option)?.rest ?? [option]),
      );
    default:
      return partsOf(regex);
  }
}

/** Adds regular expressions to the nodes, each object once. Depth is without limit: there is no recursion. */
export class Interner {
  readonly #builder: Builder;
  readonly #known = new WeakMap<Regex, number>();

  constructor(builder: Builder) {
    this.#builder = builder;
  }

  intern(regex: Regex): number {
    const stack: { regex: Regex; isReady: boolean }[] = [{ regex, isReady: false }];
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      if (this.#known.has(top.regex)) {
        stack.pop();
      } else if (top.isReady) {
        this.#known.set(top.regex, this.#add(top.regex));
        stack.pop();
      } else {
        top.isReady = true;
        for (const part of listParts(top.regex)) {
          if (!this.#known.has(part)) stack.push({ regex: part, isReady: false });
        }
      }
    }
    return this.#get(regex);
  }

  #get(regex: Regex): number {
    return this.#known.get(regex) ?? NOTHING;
  }

  #add(regex: Regex): number {
    const builder = this.#builder;
    switch (regex.type) {
      case "literal":
      case "bytes":
        return builder.literal(bytesOfLiteral(regex) ?? new Uint8Array());
      case "words":
        return builder.sorted(encoder.encode(regex.text), regex.ends);
      case "class":
        return addClass(builder, regex.ranges);
      case "concat":
        return this.#concat(flattenConcat(regex.parts));
      case "either":
        return this.#either(regex.options);
      case "repeat":
        return builder.repeat(this.#get(regex.of), { min: regex.min, max: regex.max ?? INFINITY });
      case "and":
        return builder.and(regex.parts.map((part) => this.#get(part)));
      case "not":
        return builder.not(this.#get(regex.of));
    }
  }

  #concat(parts: readonly Regex[]): number {
    return parts.reduceRight((tail, part) => this.#builder.concat(this.#get(part), tail), EMPTY);
  }

  #either(options: readonly Regex[]): number {
    const words: Word[] = [];
    const others: number[] = [];
    for (const option of options) {
      const word = wordOf(option);
      if (word === undefined) others.push(this.#get(option));
      else words.push({ bytes: word.bytes, tail: this.#concat(word.rest) });
    }
    return this.#builder.or([this.#builder.trie(words), ...others]);
  }
}
