import type { Builder } from "./builder.ts";
import { ALL, Content, Kind } from "./kinds.ts";
import type { Nodes } from "./nodes.ts";

/** Copies nodes and what is known of them to another store, each with its parts once. Without recursion, so that depth has no limit. */
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
      const before = stack.length;
      if (this.#copyOf(top) < 0) {
        for (const part of this.#listParts(top)) if (this.#copyOf(part) < 0) stack.push(part);
        if (stack.length > before) continue;
        this.#add(top);
      }
      stack.pop();
    }
    return this.#copyOf(node);
  }

  /** Adds the copy of a node whose parts are copied. */
  #add(node: number): void {
    const copied = this.#rebuild(node);
    const content = this.#from.content(node);
    if (content !== Content.Unknown) this.#to.nodes.setContent(copied, content);
    this.#copies.set(node, copied);
  }

  #copyOf(node: number): number {
    return node <= ALL ? node : (this.#copies.get(node) ?? -1);
  }

  #listParts(node: number): Iterable<number> {
    const from = this.#from;
    switch (from.kind(node)) {
      case Kind.Set:
      case Kind.Literal:
        return [];
      case Kind.Trie:
        return this.#listWords(node).map(({ tail }) => tail);
      case Kind.Concat:
        return [from.a(node), from.b(node)];
      case Kind.Or:
      case Kind.And:
        return from.children(node);
      default:
        return [from.a(node)];
    }
  }

  #listWords(node: number) {
    const { words } = this.#from;
    const [low, high, depth] = [this.#from.a(node), this.#from.b(node), this.#from.c(node)];
    return Array.from({ length: high - low }, (_, index) => {
      const word = low + index;
      return { begin: words.begin(word) + depth, end: words.end(word), tail: words.tail(word) };
    });
  }

  #rebuild(node: number): number {
    const [from, to] = [this.#from, this.#to];
    const [a, b, c] = [from.a(node), from.b(node), from.c(node)];
    const part = (of: number): number => this.#copyOf(of);
    const bytes = (begin: number, end: number): Uint8Array =>
      Uint8Array.from({ length: end - begin }, (_, index) => from.words.byte(begin + index));
    switch (from.kind(node)) {
      case Kind.Set: {
        const all = Array.from({ length: 256 }, (_, byte) => byte);
        return to.set(all.filter((byte) => from.sets.has(a, byte)).map((byte) => [byte, byte]));
      }
      case Kind.Literal:
        return to.literal(bytes(a, b));
      case Kind.Trie:
        return to.trie(
          this.#listWords(node).map(({ begin, end, tail }) => ({
            bytes: bytes(begin, end),
            tail: part(tail),
          })),
        );
      case Kind.Concat:
        return to.concat(part(a), part(b));
      case Kind.Or:
        return to.or(Array.from(from.children(node), part));
      case Kind.And:
        return to.and(Array.from(from.children(node), part));
      case Kind.Not:
        return to.not(part(a));
      default:
        return to.repeat(part(a), { min: b, max: c });
    }
  }
}
