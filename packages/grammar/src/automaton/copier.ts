import { ALL, Content, Kind } from "./kinds.ts";
import type { Builder } from "./node-builder.ts";
import type { Nodes } from "./nodes.ts";

/** The nodes that a node consists of, and how it is made of their copies. */
interface Plan {
  readonly parts: readonly number[];
  readonly make: (copies: readonly number[]) => number;
}

/** Copies nodes and what is known of them to another store, each once. Without recursion, so that depth has no limit. */
export class Copier {
  readonly #from: Nodes;
  readonly #to: Builder;
  readonly #copies = new Map<number, number>();

  constructor(from: Nodes, to: Builder) {
    this.#from = from;
    this.#to = to;
  }

  copy(node: number): number {
    const stack = [node];
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      if (this.#copyOf(top) < 0) {
        const { parts, make } = this.#plan(top);
        const missing = parts.filter((part) => this.#copyOf(part) < 0);
        for (const part of missing) stack.push(part);
        if (missing.length > 0) continue;
        const copied = make(parts.map((part) => this.#copyOf(part)));
        const content = this.#from.content(top);
        if (content !== Content.Unknown) this.#to.nodes.setContent(copied, content);
        this.#copies.set(top, copied);
      }
      stack.pop();
    }
    return this.#copyOf(node);
  }

  #copyOf(node: number): number {
    return node <= ALL ? node : (this.#copies.get(node) ?? -1);
  }

  #plan(node: number): Plan {
    const [from, to] = [this.#from, this.#to];
    const [a, b, c] = [from.a(node), from.b(node), from.c(node)];
    const bytes = (begin: number, end: number): Uint8Array =>
      Uint8Array.from({ length: end - begin }, (_, index) => from.words.byte(begin + index));
    switch (from.kind(node)) {
      case Kind.Set: {
        const all = Array.from({ length: 256 }, (_, byte) => [byte, byte] as const);
        return { parts: [], make: () => to.set(all.filter(([byte]) => from.sets.has(a, byte))) };
      }
      case Kind.Literal:
        return { parts: [], make: () => to.literal(bytes(a, b)) };
      case Kind.Trie: {
        const words = Array.from({ length: b - a }, (_, index) => a + index);
        const textOf = (word: number): Uint8Array => bytes(from.words.begin(word) + c, from.words.end(word));
        return {
          parts: words.map((word) => from.words.tail(word)),
          make: (tails) =>
            to.trie(words.map((word, index) => ({ bytes: textOf(word), tail: tails[index] ?? 0 }))),
        };
      }
      case Kind.Concat:
        return { parts: [a, b], make: ([head = 0, tail = 0]) => to.concat(head, tail) };
      case Kind.Or:
        return { parts: [...from.children(node)], make: (options) => to.or(options) };
      case Kind.And:
        return { parts: [...from.children(node)], make: (all) => to.and(all) };
      case Kind.Not:
        return { parts: [a], make: ([of = 0]) => to.not(of) };
      default:
        return { parts: [a], make: ([of = 0]) => to.repeat(of, { min: b, max: c }) };
    }
  }
}
