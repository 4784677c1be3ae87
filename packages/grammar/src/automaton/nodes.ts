import { GrammarError, grown } from "#grammar";
import { ONE_CLASS, Partitions } from "./byte-classes.ts";
import { ByteSets } from "./byte-sets.ts";
import { factsOf } from "./facts.ts";
import { ANY_BYTE, type Content, EMPTY, INFINITY, Kind, NOTHING } from "./kinds.ts";
import { mix } from "./pair-table.ts";
import { Words } from "./words.ts";

interface NodeFields {
  readonly kind: Kind;
  readonly a: number;
  readonly b?: number;
  readonly c?: number;
}

/** Integers per node: kind, a, b, c, 1 if nullable + 2 if some text is shortest + 4 × content, partition, and four bounds. */
const FIELDS = 10;

/** Nodes of regular expressions: equal fields give the same node. Their facts are computed once, from those of their parts. */
export class Nodes {
  readonly sets = new ByteSets();
  readonly partitions = new Partitions();
  readonly words = new Words();
  readonly #limit: number;
  #fields = new Int32Array(256 * FIELDS);
  #count = 0;
  #children = new Int32Array(256);
  #childCount = 0;
  #slots = new Int32Array(512).fill(-1);

  /** @param limit - Number of nodes at most; eight children of unions and intersections count as another one. */
  constructor(limit: number) {
    this.#limit = limit;
    this.set(this.sets.ofRanges([]));
    this.add({ kind: Kind.Repeat, a: NOTHING });
    this.set(this.sets.ofRanges([[0, 255]]));
    this.add({ kind: Kind.Repeat, a: ANY_BYTE, c: INFINITY });
  }

  /** Number of nodes, as the limit counts them. */
  get size(): number {
    return this.#count + this.#childCount / 8;
  }

  get bytes(): number {
    const own = this.#fields.byteLength + this.#children.byteLength + this.#slots.byteLength;
    return own + this.sets.bytes + this.partitions.bytes + this.words.bytes;
  }

  kind(node: number): Kind {
    return (this.#fields[node * FIELDS] ?? 0) as Kind;
  }

  a(node: number): number {
    return this.#fields[node * FIELDS + 1] ?? 0;
  }

  b(node: number): number {
    return this.#fields[node * FIELDS + 2] ?? 0;
  }

  c(node: number): number {
    return this.#fields[node * FIELDS + 3] ?? 0;
  }

  /** A node as a repeat, which any other is once. */
  counted(node: number): { of: number; min: number; max: number } {
    if (this.kind(node) !== Kind.Repeat || node === EMPTY) return { of: node, min: 1, max: 1 };
    return { of: this.a(node), min: this.b(node), max: this.c(node) };
  }

  /** Whether a node is any number of repeats. */
  isStar(node: number): boolean {
    return this.kind(node) === Kind.Repeat && this.b(node) === 0 && this.c(node) === INFINITY;
  }

  isNullable(node: number): boolean {
    return ((this.#fields[node * FIELDS + 4] ?? 0) & 1) === 1;
  }

  /** Whether some text has {@link minStarts}. */
  isLeast(node: number): boolean {
    return ((this.#fields[node * FIELDS + 4] ?? 0) & 2) === 2;
  }

  content(node: number): Content {
    return ((this.#fields[node * FIELDS + 4] ?? 0) >> 2) as Content;
  }

  setContent(node: number, content: Content): void {
    this.#fields[node * FIELDS + 4] = ((this.#fields[node * FIELDS + 4] ?? 0) & 3) + 4 * content;
  }

  partition(node: number): number {
    return this.#fields[node * FIELDS + 5] ?? ONE_CLASS;
  }

  minBytes(node: number): number {
    return this.#fields[node * FIELDS + 6] ?? 0;
  }

  maxBytes(node: number): number {
    return this.#fields[node * FIELDS + 7] ?? 0;
  }

  minStarts(node: number): number {
    return this.#fields[node * FIELDS + 8] ?? 0;
  }

  maxStarts(node: number): number {
    return this.#fields[node * FIELDS + 9] ?? 0;
  }

  /** A child of a union or intersection. */
  child(node: number, index: number): number {
    return this.#children[this.a(node) + index] ?? 0;
  }

  /** The children of a union or intersection. */
  children(node: number): Int32Array {
    const begin = this.a(node);
    return this.#children.subarray(begin, begin + this.b(node));
  }

  set(set: number): number {
    return this.add({ kind: Kind.Set, a: set });
  }

  /** A union or intersection of at least two nodes, in ascending order. */
  addList(kind: typeof Kind.Or | typeof Kind.And, nodes: readonly number[]): number {
    let hash = mix(kind, nodes.length);
    for (const node of nodes) hash = mix(hash, node);
    const isSame = (node: number): boolean =>
      this.kind(node) === kind &&
      this.b(node) === nodes.length &&
      nodes.every((child, index) => this.child(node, index) === child);
    return this.#intern(hash, {
      isSame,
      create: () => {
        const begin = this.#childCount;
        while (begin + nodes.length > this.#children.length) this.#children = grown(this.#children);
        for (const child of nodes) this.#children[this.#childCount++] = child;
        return this.#append({ kind, a: begin, b: nodes.length });
      },
    });
  }

  add(fields: NodeFields): number {
    const { kind, a, b = 0, c = 0 } = fields;
    const isSame = (node: number): boolean =>
      this.kind(node) === kind && this.a(node) === a && this.b(node) === b && this.c(node) === c;
    return this.#intern(mix(mix(a, b), mix(c, kind)), { isSame, create: () => this.#append(fields) });
  }

  #intern(
    hash: number,
    { isSame, create }: { isSame: (node: number) => boolean; create: () => number },
  ): number {
    const last = this.#slots.length - 1;
    let slot = hash & last;
    for (;;) {
      const found = this.#slots[slot] ?? -1;
      if (found < 0) break;
      if (isSame(found)) return found;
      slot = (slot + 1) & last;
    }
    const node = create();
    this.#slots[slot] = node;
    this.#hashes.push(hash);
    if (2 * this.#count > this.#slots.length) this.#rehash();
    return node;
  }

  readonly #hashes: number[] = [];

  #rehash(): void {
    this.#slots = new Int32Array(2 * this.#slots.length).fill(-1);
    const last = this.#slots.length - 1;
    for (const [node, hash] of this.#hashes.entries()) {
      let slot = hash & last;
      while ((this.#slots[slot] ?? -1) >= 0) slot = (slot + 1) & last;
      this.#slots[slot] = node;
    }
  }

  #append({ kind, a, b = 0, c = 0 }: NodeFields): number {
    if (this.size >= this.#limit) {
      throw new GrammarError("limit", `a regular expression needs more than ${this.#limit} states`);
    }
    const node = this.#count++;
    const begin = node * FIELDS;
    if (begin + FIELDS > this.#fields.length) this.#fields = grown(this.#fields);
    const fields = this.#fields;
    fields[begin] = kind;
    fields[begin + 1] = a;
    fields[begin + 2] = b;
    fields[begin + 3] = c;
    const facts = factsOf(this, node);
    fields[begin + 4] = (facts.isNullable ? 1 : 0) + (facts.isLeast ? 2 : 0) + 4 * facts.content;
    fields[begin + 5] = facts.partition;
    fields[begin + 6] = facts.minBytes;
    fields[begin + 7] = facts.maxBytes;
    fields[begin + 8] = facts.minStarts;
    fields[begin + 9] = facts.maxStarts;
    return node;
  }
}
