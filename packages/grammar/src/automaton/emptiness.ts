import { GrammarError } from "#grammar";
import type { Derivatives } from "./derivatives.ts";
import { Content, Kind } from "./kinds.ts";
import type { Nodes } from "./nodes.ts";
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

/**
 * Whether a language is empty. Only intersections and complements need a search: it goes first where the text could end soonest,
 * and notes what it learns of all nodes on its way.
 */
export function isNothing(derivatives: Derivatives, node: number, visits: number): boolean {
  const { nodes } = derivatives;
  if (nodes.content(node) === Content.None) return true;
  if (hasText(nodes, node)) return false;
  const cameFrom = new Map<number, number>([[node, -1]]);
  const frontier = new Frontier(nodes);
  frontier.push(node);
  for (let next = frontier.pop(); next !== undefined; next = frontier.pop()) {
    for (const byte of nodes.partitions.get(nodes.partition(next)).representatives) {
      const after = derivatives.derive(next, byte);
      if (hasText(nodes, after)) {
        markPath(nodes, cameFrom, next);
        return false;
      }
      if (nodes.content(after) === Content.None || cameFrom.has(after)) continue;
      cameFrom.set(after, next);
      frontier.push(after);
    }
    if (cameFrom.size > visits) throw new GrammarError("limit", TOO_LONG);
  }
  for (const visited of cameFrom.keys()) nodes.setContent(visited, Content.None);
  return true;
}
