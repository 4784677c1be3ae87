import { GrammarError } from "#grammar";
import type { Derivatives } from "./derivatives.ts";
import { Content, Kind } from "./kinds.ts";
import type { Nodes } from "./nodes.ts";
import { type Pace, Paused } from "./pace.ts";
import { isWithinStar } from "./within-star.ts";

const TOO_LONG =
  "it takes too long to find out whether an intersection of regular expressions contains any text";

/** A heap of nodes by the least number of bytes that leads to the end of a text. */
class Frontier {
  readonly #nodes: Nodes;
  readonly #heap: number[] = [];

  constructor(nodes: Nodes) {
    this.#nodes = nodes;
  }

  push(node: number): void {
    let place = this.#heap.push(node) - 1;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if (!this.#isBefore(place, parent)) break;
      this.#swap(place, parent);
      place = parent;
    }
  }

  pop(): number | undefined {
    const [first] = this.#heap;
    const last = this.#heap.pop();
    if (last === undefined || this.#heap.length === 0) return last;
    this.#heap[0] = last;
    let place = 0;
    for (;;) {
      const [left, right] = [2 * place + 1, 2 * place + 2];
      let least = place;
      if (left < this.#heap.length && this.#isBefore(left, least)) least = left;
      if (right < this.#heap.length && this.#isBefore(right, least)) least = right;
      if (least === place) return first;
      this.#swap(place, least);
      place = least;
    }
  }

  #isBefore(place: number, other: number): boolean {
    const [one, two] = [this.#heap[place] ?? 0, this.#heap[other] ?? 0];
    return this.#nodes.minBytes(one) < this.#nodes.minBytes(two);
  }

  #swap(place: number, other: number): void {
    const [one, two] = [this.#heap[place] ?? 0, this.#heap[other] ?? 0];
    this.#heap[place] = two;
    this.#heap[other] = one;
  }
}

/**
 * Whether a node is `A & r{0,n}` where A is within `r*` and has a text of at most n code points, which is one of at most n repeats.
 * That is what a pattern and a greatest length look like: their search would else begin anew at each length.
 */
function hasShortText(nodes: Nodes, node: number): boolean {
  if (nodes.kind(node) !== Kind.And) return false;
  const parts = [...nodes.children(node)];
  const isCount = (part: number): boolean => nodes.kind(part) === Kind.Repeat && nodes.b(part) === 0;
  const [text, ...others] = parts.filter((part) => !isCount(part));
  if (text === undefined || others.length > 0 || !nodes.isLeast(text)) return false;
  return parts.filter(isCount).every((part) => {
    const of = nodes.a(part);
    const isLong = nodes.minStarts(of) > 0 && nodes.c(part) >= nodes.minStarts(text);
    return isLong && isWithinStar(nodes, text, of);
  });
}

/** Whether a node is known to contain a text. */
function hasText(nodes: Nodes, node: number): boolean {
  if (nodes.content(node) === Content.Unknown && hasShortText(nodes, node)) {
    nodes.setContent(node, Content.Some);
  }
  return nodes.content(node) === Content.Some;
}

/** Notes that a node, and those on the way to it, contain a text. */
function markPath(nodes: Nodes, cameFrom: ReadonlyMap<number, number>, last: number): void {
  for (let node = last; node >= 0; node = cameFrom.get(node) ?? -1) nodes.setContent(node, Content.Some);
}

/** A search that is not finished: nodes that were reached, each with the one before it, and those whose successors are unknown. */
interface Search {
  readonly cameFrom: Map<number, number>;
  readonly frontier: Frontier;
}

/** Searches that are kept unfinished. */
const SEARCHES = 64;

/**
 * Decides whether languages are empty. Only intersections and complements need a search: it goes first where the text could end soonest,
 * and notes what it learns of all nodes on its way.
 */
export class Emptiness {
  readonly #derivatives: Derivatives;
  readonly #nodes: Nodes;
  readonly #pace: Pace;
  readonly #visits: number;
  /** Searches that were paused, by the node that they began with. */
  readonly #paused = new Map<number, Search>();

  /**
   * @param visits - nodes that a search reaches at most
   */
  constructor(derivatives: Derivatives, { pace, visits }: { readonly pace: Pace; readonly visits: number }) {
    this.#derivatives = derivatives;
    this.#nodes = derivatives.nodes;
    this.#pace = pace;
    this.#visits = visits;
  }

  /** Whether a node's language is empty. */
  isNothing(node: number): boolean {
    if (this.#nodes.content(node) === Content.None) return true;
    if (hasText(this.#nodes, node)) return false;
    const search = this.#paused.get(node) ?? this.#begin(node);
    try {
      const result = this.#finish(search);
      this.#paused.delete(node);
      return result;
    } catch (error) {
      if (!(error instanceof Paused)) this.#paused.delete(node);
      throw error;
    }
  }

  #begin(node: number): Search {
    const search = { cameFrom: new Map([[node, -1]]), frontier: new Frontier(this.#nodes) };
    search.frontier.push(node);
    const [oldest] = this.#paused.keys();
    if (oldest !== undefined && this.#paused.size >= SEARCHES) this.#paused.delete(oldest);
    this.#paused.set(node, search);
    return search;
  }

  #finish({ cameFrom, frontier }: Search): boolean {
    const nodes = this.#nodes;
    for (;;) {
      this.#pace.check();
      const next = frontier.pop();
      if (next === undefined) break;
      if (this.#leadsToText(next, { cameFrom, frontier })) {
        markPath(nodes, cameFrom, next);
        return false;
      }
      if (cameFrom.size > this.#visits) throw new GrammarError("limit", TOO_LONG);
      this.#pace.advance();
    }
    for (const visited of cameFrom.keys()) nodes.setContent(visited, Content.None);
    return true;
  }

  /** Whether a successor of a node is known to contain a text; the others are to be looked at. */
  #leadsToText(node: number, { cameFrom, frontier }: Search): boolean {
    const nodes = this.#nodes;
    for (const byte of nodes.partitions.get(nodes.partition(node)).representatives) {
      const after = this.#derivatives.derive(node, byte);
      if (hasText(nodes, after)) return true;
      if (nodes.content(after) === Content.None || cameFrom.has(after)) continue;
      cameFrom.set(after, node);
      frontier.push(after);
    }
    return false;
  }
}
