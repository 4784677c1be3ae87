import { EMPTY, INFINITY, Kind, NOTHING } from "./kinds.ts";
import type { Builder } from "./node-builder.ts";
import type { Nodes } from "./nodes.ts";
import { PairTable } from "./pair-table.ts";

/** Brzozowski derivatives: the texts that may follow a byte. They are computed without recursion, and kept. */
export class Derivatives {
  readonly #builder: Builder;
  readonly nodes: Nodes;
  /** By node and class of the byte. */
  readonly #known = new PairTable();

  constructor(builder: Builder) {
    this.#builder = builder;
    this.nodes = builder.nodes;
  }

  get bytes(): number {
    return this.#known.bytes;
  }

  derive(node: number, byte: number): number {
    const known = this.#lookUp(node, byte);
    if (known >= 0) return known;
    const stack = [node];
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const before = stack.length;
      if (this.#lookUp(top, byte) < 0) {
        for (const part of this.#listParts(top)) if (this.#lookUp(part, byte) < 0) stack.push(part);
        if (stack.length > before) continue;
        this.#known.set(top, this.#classOf(top, byte), this.#compute(top, byte));
      }
      stack.pop();
    }
    return this.#lookUp(node, byte);
  }

  #classOf(node: number, byte: number): number {
    return this.nodes.partitions.get(this.nodes.partition(node)).of[byte] ?? 0;
  }

  /** A derivative that is known or easily found, or -1. */
  #lookUp(node: number, byte: number): number {
    const kind = this.nodes.kind(node);
    if (kind <= Kind.Trie) return this.#deriveLeaf(node, byte);
    if (kind === Kind.Concat && this.nodes.kind(this.nodes.a(node)) < Kind.Trie) {
      const head = this.#deriveLeaf(this.nodes.a(node), byte);
      // the head of a sequence is never empty
      return head === NOTHING ? NOTHING : this.#builder.concat(head, this.nodes.b(node));
    }
    return this.#known.get(node, this.#classOf(node, byte));
  }

  #deriveLeaf(node: number, byte: number): number {
    const nodes = this.nodes;
    const a = nodes.a(node);
    switch (nodes.kind(node)) {
      case Kind.Set:
        return nodes.sets.has(a, byte) ? EMPTY : NOTHING;
      case Kind.Literal:
        return nodes.words.byte(a) === byte ? this.#builder.stored(a + 1, nodes.b(node)) : NOTHING;
      default:
        return this.#deriveTrie(node, byte);
    }
  }

  #deriveTrie(node: number, byte: number): number {
    const { words } = this.nodes;
    const [first, last, depth] = [this.nodes.a(node), this.nodes.b(node), this.nodes.c(node)];
    let low = words.lowerBound(byte, { low: first, high: last, depth });
    const high = words.lowerBound(byte + 1, { low, high: last, depth });
    const tails: number[] = [];
    // words that end here come first in their order
    while (low < high && words.begin(low) + depth + 1 === words.end(low)) tails.push(words.tail(low++));
    const rest = this.#builder.words({ low, high, depth: depth + 1 });
    return tails.length === 0 ? rest : this.#builder.or([...tails, rest]);
  }

  /** Nodes whose derivatives that of this node consists of. */
  #listParts(node: number): Iterable<number> {
    const nodes = this.nodes;
    switch (nodes.kind(node)) {
      case Kind.Concat: {
        const head = nodes.a(node);
        return nodes.isNullable(head) ? [head, nodes.b(node)] : [head];
      }
      case Kind.Or:
      case Kind.And:
        return nodes.children(node);
      default:
        return [nodes.a(node)];
    }
  }

  #compute(node: number, byte: number): number {
    const [nodes, builder] = [this.nodes, this.#builder];
    const part = (of: number): number => this.#lookUp(of, byte);
    const [a, b, c] = [nodes.a(node), nodes.b(node), nodes.c(node)];
    switch (nodes.kind(node)) {
      case Kind.Concat: {
        const head = builder.concat(part(a), b);
        return nodes.isNullable(a) ? builder.or([head, part(b)]) : head;
      }
      case Kind.Or:
        return builder.or(Array.from(nodes.children(node), part));
      case Kind.And:
        return builder.and(Array.from(nodes.children(node), part));
      case Kind.Not:
        return builder.not(part(a));
      default: {
        const rest = builder.repeat(a, { min: Math.max(0, b - 1), max: c === INFINITY ? c : c - 1 });
        return builder.concat(part(a), rest);
      }
    }
  }
}
