import { EMPTY, Kind, NOTHING } from "./kinds.ts";
import type { Nodes } from "./nodes.ts";

/** Levels of a node that are looked at. */
const LEVELS = 8;

/** Whether all texts of a node are obviously texts of `base*`. It is enough to look at its structure: false is "perhaps". */
export function isWithinStar(nodes: Nodes, node: number, base: number): boolean {
  return isWithin(nodes, node, { base, level: 0 });
}

function isWithin(nodes: Nodes, node: number, at: { base: number; level: number }): boolean {
  const { base, level } = at;
  if (node === base || node === EMPTY || node === NOTHING) return true;
  if (level > LEVELS) return false;
  if (listOptions(nodes, base).some((option) => isStep(nodes, node, option))) return true;
  const isPartWithin = (part: number): boolean => isWithin(nodes, part, { base, level: level + 1 });
  switch (nodes.kind(node)) {
    case Kind.Literal:
      return areBytesWithin(nodes, base, { begin: nodes.a(node), end: nodes.b(node) });
    case Kind.Trie:
      return listWords(nodes, node).every(
        ({ tail, ...bytes }) => areBytesWithin(nodes, base, bytes) && isPartWithin(tail),
      );
    case Kind.Concat:
      return isPartWithin(nodes.a(node)) && isPartWithin(nodes.b(node));
    case Kind.Or:
      return nodes.children(node).every(isPartWithin);
    case Kind.And:
      return nodes.children(node).some(isPartWithin);
    case Kind.Repeat:
      return isPartWithin(nodes.a(node));
    default:
      return false;
  }
}

const listOptions = (nodes: Nodes, node: number): readonly number[] | Int32Array =>
  nodes.kind(node) === Kind.Or ? nodes.children(node) : [node];

/** Whether both are sequences of sets, and those of one within those of the other. */
function isStep(nodes: Nodes, node: number, option: number): boolean {
  let [one, other] = [node, option];
  while (one !== other) {
    const isConcat = nodes.kind(one) === Kind.Concat;
    if (isConcat !== (nodes.kind(other) === Kind.Concat)) return false;
    const [head, otherHead] = isConcat ? [nodes.a(one), nodes.a(other)] : [one, other];
    if (nodes.kind(head) !== Kind.Set || nodes.kind(otherHead) !== Kind.Set) return false;
    if (!nodes.sets.isSubset(nodes.a(head), nodes.a(otherHead))) return false;
    if (!isConcat) return true;
    [one, other] = [nodes.b(one), nodes.b(other)];
  }
  return true;
}

/** Bytes of literals and words that are looked at. */
const STORED_BYTES = 256;

/** Words of a trie, or one that is too long where there are too many. */
function listWords(nodes: Nodes, trie: number): readonly { begin: number; end: number; tail: number }[] {
  const [low, high, depth] = [nodes.a(trie), nodes.b(trie), nodes.c(trie)];
  if (high - low > STORED_BYTES) return [{ begin: 0, end: STORED_BYTES + 1, tail: EMPTY }];
  return Array.from({ length: high - low }, (_, index) => {
    const word = low + index;
    return {
      begin: nodes.words.begin(word) + depth,
      end: nodes.words.end(word),
      tail: nodes.words.tail(word),
    };
  });
}

function areBytesWithin(nodes: Nodes, base: number, { begin, end }: { begin: number; end: number }): boolean {
  const set = listOptions(nodes, base).find((option) => nodes.kind(option) === Kind.Set);
  if (set === undefined || end - begin > STORED_BYTES) return false;
  for (let place = begin; place < end; place++) {
    if (!nodes.sets.has(nodes.a(set), nodes.words.byte(place))) return false;
  }
  return true;
}
