import { ALL, Content, EMPTY, INFINITY, Kind, NOTHING } from "./kinds.ts";
import { Nodes } from "./nodes.ts";
import { ascending, simplifyIntersection, simplifyUnion } from "./simplify.ts";
import { isWithinStar } from "./within-star.ts";
import type { Word } from "./words.ts";

/** Parts of a sequence that are moved when another follows it. Longer sequences are nested, as moving costs a node per part. */
const MOVED_PARTS = 8;

/** Adds nodes in a form in which languages that are obviously equal are the same node, so that there are few derivatives. */
export class Builder {
  readonly nodes: Nodes;

  constructor(limit: number) {
    this.nodes = new Nodes(limit);
  }

  set(ranges: readonly (readonly [first: number, last: number])[]): number {
    return this.nodes.set(this.nodes.sets.ofRanges(ranges));
  }

  literal(bytes: Uint8Array): number {
    const [first] = bytes;
    if (first === undefined) return EMPTY;
    if (bytes.length === 1) return this.set([[first, first]]);
    const begin = this.nodes.words.addText(bytes);
    return this.nodes.add({ kind: Kind.Literal, a: begin, b: begin + bytes.length });
  }

  /** The stored bytes from `begin` to `end`. */
  stored(begin: number, end: number): number {
    if (begin === end) return EMPTY;
    if (end - begin > 1) return this.nodes.add({ kind: Kind.Literal, a: begin, b: end });
    const byte = this.nodes.words.byte(begin);
    return this.set([[byte, byte]]);
  }

  /** One of these words. */
  trie(words: readonly Word[]): number {
    const ended = words.filter(({ bytes }) => bytes.length === 0).map(({ tail }) => tail);
    const stored = this.nodes.words.addWords(words.filter(({ bytes }) => bytes.length > 0));
    return this.or([...ended, this.words({ ...stored, depth: 0 })]);
  }

  /** One of many words, which are sorted, by where each ends in their bytes. */
  sorted(bytes: Uint8Array, ends: readonly number[]): number {
    return this.words({ ...this.nodes.words.addSorted(bytes, ends), depth: 0 });
  }

  /** A range of the stored words, without their first bytes. */
  words({ low, high, depth }: { low: number; high: number; depth: number }): number {
    const { words } = this.nodes;
    if (low === high) return NOTHING;
    if (low + 1 < high) return this.nodes.add({ kind: Kind.Trie, a: low, b: high, c: depth });
    return this.concat(this.stored(words.begin(low) + depth, words.end(low)), words.tail(low));
  }

  concat(a: number, b: number): number {
    const { nodes } = this;
    const heads: number[] = [];
    let last = a;
    while (nodes.kind(last) === Kind.Concat && heads.length < MOVED_PARTS) {
      heads.push(nodes.a(last));
      last = nodes.b(last);
    }
    if (nodes.kind(last) === Kind.Concat) return this.#join(a, b);
    let result = this.#join(last, b);
    for (const head of heads.reverse()) result = this.#join(head, result);
    return result;
  }

  #join(a: number, b: number): number {
    const { nodes } = this;
    if (a === NOTHING || b === NOTHING) return NOTHING;
    if (a === EMPTY) return b;
    if (b === EMPTY) return a;
    // r{m,n} r{k,l} is r{m+k,n+l}, and so is r r{k,l}
    const isConcat = nodes.kind(b) === Kind.Concat;
    const next = isConcat ? nodes.a(b) : b;
    const [one, other] = [nodes.counted(a), nodes.counted(next)];
    const isRepeat = nodes.kind(a) === Kind.Repeat || nodes.kind(next) === Kind.Repeat;
    if (isRepeat && one.of === other.of) {
      const merged = this.repeat(one.of, { min: one.min + other.min, max: one.max + other.max });
      return isConcat ? this.#join(merged, nodes.b(b)) : merged;
    }
    // r* s and s r* are r* where s may be empty and is within r*
    if (this.#absorbs(a, next)) return isConcat ? this.#join(a, nodes.b(b)) : a;
    if (this.#absorbs(next, a)) return b;
    return nodes.add({ kind: Kind.Concat, a, b });
  }

  #absorbs(star: number, node: number): boolean {
    const { nodes } = this;
    return nodes.isStar(star) && nodes.isNullable(node) && isWithinStar(nodes, node, nodes.a(star));
  }

  repeat(of: number, { min, max }: { min: number; max: number }): number {
    const { nodes } = this;
    let [base, least, most] = [of, Math.min(min, INFINITY), Math.min(max, INFINITY)];
    if (least > most) return NOTHING;
    if (most === 0 || base === EMPTY) return EMPTY;
    if (base === NOTHING) return least === 0 ? EMPTY : NOTHING;
    if (nodes.isNullable(base)) {
      // (r|)* is r*, and any number of repeats of it may be empty
      least = 0;
      base = this.#withoutEmpty(base);
    }
    if (nodes.kind(base) === Kind.Repeat) {
      // (r{a,b}){c,d} is r{ac,bd} where no number between them is missing: the gap after c repeats is the widest
      const [a, b] = [nodes.b(base), nodes.c(base)];
      if (least === most || least * (b - a) + 1 >= a) {
        const bounds = { min: Math.min(INFINITY, least * a), max: Math.min(INFINITY, most * b) };
        return this.repeat(nodes.a(base), bounds);
      }
    }
    if (least === 1 && most === 1) return base;
    return nodes.add({ kind: Kind.Repeat, a: base, b: least, c: most });
  }

  or(parts: readonly number[]): number {
    const list = this.#flatten(Kind.Or, parts);
    if (list.includes(ALL)) return ALL;
    const options = this.#joinNots(list, (nots) => this.and(nots));
    const [first = NOTHING, second] = options;
    if (second === undefined) return first;
    const simple = simplifyUnion(this, options);
    return simple.length > 1 ? this.nodes.addList(Kind.Or, simple) : (simple[0] ?? NOTHING);
  }

  and(parts: readonly number[]): number {
    const list = this.#flatten(Kind.And, parts);
    if (list.includes(NOTHING)) return NOTHING;
    const all = this.#joinNots(list, (nots) => this.or(nots));
    const [first = ALL, second] = all;
    if (second === undefined) return first;
    if (all.includes(EMPTY)) return all.every((part) => this.nodes.isNullable(part)) ? EMPTY : NOTHING;
    const simple = simplifyIntersection(this, all);
    if (simple.length < 2) return simple[0] ?? ALL;
    const node = this.nodes.addList(Kind.And, simple);
    const { nodes } = this;
    const isEmpty =
      nodes.content(node) === Content.None ||
      nodes.minBytes(node) > nodes.maxBytes(node) ||
      nodes.minStarts(node) > nodes.maxStarts(node);
    return isEmpty ? NOTHING : node;
  }

  not(of: number): number {
    if (this.nodes.kind(of) === Kind.Not) return this.nodes.a(of);
    if (of === NOTHING) return ALL;
    return of === ALL ? NOTHING : this.nodes.add({ kind: Kind.Not, a: of });
  }

  /** The parts of a union or intersection and of those directly in it, without its neutral element, in ascending order. */
  #flatten(kind: typeof Kind.Or | typeof Kind.And, parts: readonly number[]): number[] {
    const neutral = kind === Kind.Or ? NOTHING : ALL;
    const list = new Set<number>();
    for (const part of parts) {
      if (this.nodes.kind(part) === kind) for (const child of this.nodes.children(part)) list.add(child);
      else if (part !== neutral) list.add(part);
    }
    return [...list].sort(ascending);
  }

  /** Complements in a union or intersection become one, by De Morgan's law. */
  #joinNots(list: number[], join: (complemented: number[]) => number): number[] {
    const isNot = (node: number): boolean => this.nodes.kind(node) === Kind.Not;
    const nots = list.filter(isNot);
    if (nots.length < 2) return list;
    const joined = this.not(join(nots.map((node) => this.nodes.a(node))));
    return [...list.filter((node) => !isNot(node)), joined].sort(ascending);
  }

  /** A node of the same language apart from the empty text, if that is easily found; else the node itself. */
  #withoutEmpty(node: number): number {
    const { nodes } = this;
    if (nodes.kind(node) === Kind.Or) {
      const children = nodes.children(node);
      if (children.includes(EMPTY)) return this.or([...children].filter((child) => child !== EMPTY));
    }
    if (nodes.kind(node) === Kind.Repeat && nodes.b(node) === 0 && !nodes.isNullable(nodes.a(node))) {
      return this.repeat(nodes.a(node), { min: 1, max: nodes.c(node) });
    }
    return node;
  }
}
