import type { Regex } from "#grammar";
import type { ByteClasses } from "./byte-classes.ts";
import { Derivatives } from "./derivatives.ts";
import { Emptiness } from "./emptiness.ts";
import { Interner } from "./intern.ts";
import { ALL, Content, Kind } from "./kinds.ts";
import { Builder } from "./node-builder.ts";
import type { Nodes } from "./nodes.ts";
import { Pace } from "./pace.ts";

/** Limits of an automaton. */
export interface AutomatonLimits {
  /** Nodes of expressions and derivatives (500,000, of some 60 bytes each). */
  readonly nodes?: number | undefined;
  /** States that {@link Automaton.isNothing} visits (50,000). */
  readonly visits?: number;
}

const NODES = 500_000;
const VISITS = 50_000;

/**
 * Regular expressions as nodes, which are the states of automata: a state's successor is its derivative by a byte. Nothing is
 * computed before it is asked for. Node 0 is the empty language, and node 1 that of the empty text only.
 *
 * Methods throw a {@link GrammarError} of code "limit" where more nodes would be needed than the limit allows; the automaton stays
 * usable.
 */
export class Automaton {
  readonly #builder: Builder;
  readonly #derivatives: Derivatives;
  readonly #interner: Interner;
  readonly #emptiness: Emptiness;
  readonly #limits: AutomatonLimits;
  /** Stops {@link Automaton.isNothing}, and work of others that share it. */
  readonly pace: Pace;

  constructor(limits: AutomatonLimits = {}, pace = new Pace()) {
    const { nodes = NODES, visits = VISITS } = limits;
    this.#limits = limits;
    this.pace = pace;
    this.#builder = new Builder(nodes);
    this.#derivatives = new Derivatives(this.#builder);
    this.#interner = new Interner(this.#builder);
    this.#emptiness = new Emptiness(this.#derivatives, { pace: this.pace, visits });
  }

  /** An empty automaton of the same limits and pace. */
  renew(): Automaton {
    return new Automaton(this.#limits, this.pace);
  }

  /** Copies nodes of another automaton to this one. */
  copier(from: Automaton): Copier {
    return new Copier(from.#builder.nodes, this.#builder);
  }

  /** Number of nodes. */
  get size(): number {
    return this.#builder.nodes.size;
  }

  /** Bytes of memory that the nodes and their derivatives take. */
  get bytes(): number {
    return this.#builder.nodes.bytes + this.#derivatives.bytes;
  }

  /** Node of an expression. It takes time by the expression's size as data: counted repeats and words are not expanded. */
  intern(regex: Regex): number {
    return this.#interner.intern(regex);
  }

  /** Node of the texts that may follow a byte. */
  derive(node: number, byte: number): number {
    return this.#derivatives.derive(node, byte);
  }

  /** Whether a text may end here: the empty text is in the node's language. */
  accepts(node: number): boolean {
    return this.#builder.nodes.isNullable(node);
  }

  /** Whether no text is in the node's language. Throws "limit" where that takes too long to find out. */
  isNothing(node: number): boolean {
    return this.#emptiness.isNothing(node);
  }

  /** Classes of bytes with equal derivatives. */
  classes(node: number): ByteClasses {
    const { nodes } = this.#builder;
    return nodes.partitions.get(nodes.partition(node));
  }

  /** Whether an expression matches these bytes. */
  matches(regex: Regex, bytes: Iterable<number>): boolean {
    let node = this.intern(regex);
    for (const byte of bytes) node = this.derive(node, byte);
    return this.accepts(node);
  }
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

  /** The nodes that a node consists of, and how it is made of their copies. */
  #plan(node: number): { readonly parts: readonly number[]; make(copies: readonly number[]): number } {
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
