import { ONE_CLASS } from "./byte-classes.ts";
import { Content, EMPTY, INFINITY, Kind } from "./kinds.ts";
import type { Nodes } from "./nodes.ts";

/** What is known of a node's language without looking at its texts. */
export interface Facts {
  /** Whether it contains the empty text. */
  readonly isNullable: boolean;
  readonly content: Content;
  /** Number of the partition of the bytes that may come first. */
  readonly partition: number;
  /** Bounds of the number of bytes. */
  readonly minBytes: number;
  readonly maxBytes: number;
  /** Bounds of the number of bytes that begin a code point, which are those that do not continue one. */
  readonly minStarts: number;
  readonly maxStarts: number;
  /** Whether some text has `minStarts` of them. */
  readonly isLeast: boolean;
}

const sum = (one: number, other: number): number => Math.min(INFINITY, one + other);
const product = (one: number, count: number): number => Math.min(INFINITY, one * count);

function setFacts(nodes: Nodes, node: number): Facts {
  const set = nodes.a(node);
  const isEmpty = nodes.sets.isEmpty(set);
  const { continuation, other } = nodes.sets.kinds(set);
  return {
    isNullable: false,
    content: isEmpty ? Content.None : Content.Some,
    partition: nodes.partitions.intern((byte) => (nodes.sets.has(set, byte) ? 1 : 0)),
    minBytes: 1,
    maxBytes: 1,
    minStarts: continuation ? 0 : 1,
    maxStarts: other ? 1 : 0,
    isLeast: !isEmpty,
  };
}

function literalFacts(nodes: Nodes, node: number): Facts {
  const [begin, end] = [nodes.a(node), nodes.b(node)];
  const starts = nodes.words.countStarts(begin, end);
  return {
    isNullable: false,
    content: Content.Some,
    partition: nodes.partitions.ofByte(nodes.words.byte(begin)),
    minBytes: end - begin,
    maxBytes: end - begin,
    minStarts: starts,
    maxStarts: starts,
    isLeast: true,
  };
}

function trieFacts(nodes: Nodes, node: number): Facts {
  const [low, high, depth] = [nodes.a(node), nodes.b(node), nodes.c(node)];
  const { words } = nodes;
  let content: Content = Content.None;
  let isLeast = true;
  let [minBytes, maxBytes, minStarts, maxStarts] = [INFINITY, 0, INFINITY, 0];
  const keys = new Uint16Array(256);
  for (let word = low; word < high; word++) {
    const [begin, end, tail] = [words.begin(word) + depth, words.end(word), words.tail(word)];
    const starts = words.countStarts(begin, end);
    minBytes = Math.min(minBytes, end - begin + nodes.minBytes(tail));
    maxBytes = Math.max(maxBytes, sum(end - begin, nodes.maxBytes(tail)));
    minStarts = Math.min(minStarts, starts + nodes.minStarts(tail));
    maxStarts = Math.max(maxStarts, sum(starts, nodes.maxStarts(tail)));
    isLeast &&= nodes.isLeast(tail);
    if (content !== Content.Some && nodes.content(tail) !== Content.None) content = nodes.content(tail);
    const byte = words.byte(begin);
    keys[byte] = byte + 1;
  }
  const partition = nodes.partitions.intern((byte) => keys[byte] ?? 0);
  const bounds = { minBytes, maxBytes, minStarts, maxStarts, isLeast };
  return { isNullable: false, content, partition, ...bounds };
}

function concatFacts(nodes: Nodes, node: number): Facts {
  const [a, b] = [nodes.a(node), nodes.b(node)];
  const contents = [nodes.content(a), nodes.content(b)];
  let content: Content = Content.Unknown;
  if (contents.includes(Content.None)) content = Content.None;
  else if (contents.every((one) => one === Content.Some)) content = Content.Some;
  return {
    isNullable: nodes.isNullable(a) && nodes.isNullable(b),
    content,
    partition: nodes.isNullable(a)
      ? nodes.partitions.refine(nodes.partition(a), nodes.partition(b))
      : nodes.partition(a),
    minBytes: sum(nodes.minBytes(a), nodes.minBytes(b)),
    maxBytes: sum(nodes.maxBytes(a), nodes.maxBytes(b)),
    minStarts: sum(nodes.minStarts(a), nodes.minStarts(b)),
    maxStarts: sum(nodes.maxStarts(a), nodes.maxStarts(b)),
    isLeast: nodes.isLeast(a) && nodes.isLeast(b),
  };
}

const least = Math.min;
const most = Math.max;

function listFacts(nodes: Nodes, node: number): Facts {
  const isOr = nodes.kind(node) === Kind.Or;
  // a union takes the least of its parts' minima, an intersection the largest
  const [lower, upper] = isOr ? [least, most] : [most, least];
  const children = nodes.children(node);
  const first = children[0] ?? EMPTY;
  let isNullable = nodes.isNullable(first);
  let partition: number = ONE_CLASS;
  let [minBytes, maxBytes] = [nodes.minBytes(first), nodes.maxBytes(first)];
  let [minStarts, maxStarts] = [nodes.minStarts(first), nodes.maxStarts(first)];
  let isLeast = isOr;
  let content: Content = isOr ? Content.None : Content.Unknown;
  for (const child of children) {
    isNullable = isOr ? isNullable || nodes.isNullable(child) : isNullable && nodes.isNullable(child);
    partition = nodes.partitions.refine(partition, nodes.partition(child));
    minBytes = lower(minBytes, nodes.minBytes(child));
    maxBytes = upper(maxBytes, nodes.maxBytes(child));
    minStarts = lower(minStarts, nodes.minStarts(child));
    maxStarts = upper(maxStarts, nodes.maxStarts(child));
    isLeast &&= nodes.isLeast(child);
    const known = nodes.content(child);
    if (isOr && content !== Content.Some && known !== Content.None) content = known;
    if (!isOr && known === Content.None) content = Content.None;
  }
  if (isNullable) content = Content.Some;
  return { isNullable, content, partition, minBytes, maxBytes, minStarts, maxStarts, isLeast };
}

function notFacts(nodes: Nodes, node: number): Facts {
  const of = nodes.a(node);
  const isNullable = !nodes.isNullable(of);
  const isCertain = isNullable || nodes.maxBytes(of) < INFINITY || nodes.content(of) === Content.None;
  return {
    isNullable,
    content: isCertain ? Content.Some : Content.Unknown,
    partition: nodes.partition(of),
    minBytes: isNullable ? 0 : 1,
    maxBytes: INFINITY,
    minStarts: 0,
    maxStarts: INFINITY,
    isLeast: isNullable,
  };
}

function repeatFacts(nodes: Nodes, node: number): Facts {
  const [of, min, max] = [nodes.a(node), nodes.b(node), nodes.c(node)];
  return {
    isNullable: min === 0 || nodes.isNullable(of),
    content: min === 0 ? Content.Some : nodes.content(of),
    partition: nodes.partition(of),
    minBytes: product(nodes.minBytes(of), min),
    maxBytes: product(nodes.maxBytes(of), max),
    minStarts: product(nodes.minStarts(of), min),
    maxStarts: product(nodes.maxStarts(of), max),
    isLeast: min === 0 || nodes.isLeast(of),
  };
}

const FACTS: Readonly<Record<Kind, (nodes: Nodes, node: number) => Facts>> = {
  [Kind.Set]: setFacts,
  [Kind.Literal]: literalFacts,
  [Kind.Trie]: trieFacts,
  [Kind.Concat]: concatFacts,
  [Kind.Or]: listFacts,
  [Kind.And]: listFacts,
  [Kind.Not]: notFacts,
  [Kind.Repeat]: repeatFacts,
};

export const factsOf = (nodes: Nodes, node: number): Facts => FACTS[nodes.kind(node)](nodes, node);
