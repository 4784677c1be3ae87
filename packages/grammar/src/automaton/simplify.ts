import { EMPTY, INFINITY, Kind, NOTHING } from "./kinds.ts";
import type { Builder } from "./node-builder.ts";
import { isWithinStar } from "./within-star.ts";

/** Longer lists are not searched for parts that others contain, which takes time by the square of their length. */
const COMPARED_PARTS = 64;

export const ascending = (one: number, other: number): number => one - other;

/** Parts of a union with the same language, fewer where some of them are one node together. All laws here are exact. */
export function simplifyUnion(builder: Builder, options: readonly number[]): readonly number[] {
  const joined = joinCounts(builder, joinSets(builder, options));
  return joined.length > 1 && joined.length <= COMPARED_PARTS ? dropWithinStars(builder, joined) : joined;
}

/** `[ab] t | [cd] t` is `[a-d] t`. */
function joinSets(builder: Builder, options: readonly number[]): readonly number[] {
  const { nodes } = builder;
  const sets = new Map<number, number>();
  const rest: number[] = [];
  let isJoined = false;
  for (const option of options) {
    const { head, tail } = split(builder, option);
    if (nodes.kind(head) !== Kind.Set) {
      rest.push(option);
      continue;
    }
    const known = sets.get(tail);
    isJoined ||= known !== undefined;
    sets.set(tail, known === undefined ? nodes.a(head) : nodes.sets.union(known, nodes.a(head)));
  }
  if (!isJoined) return options;
  for (const [tail, set] of sets) rest.push(builder.concat(nodes.set(set), tail));
  return distinct(rest);
}

/** A sequence's first part and the rest. */
const split = ({ nodes }: Builder, option: number): { head: number; tail: number } =>
  nodes.kind(option) === Kind.Concat
    ? { head: nodes.a(option), tail: nodes.b(option) }
    : { head: option, tail: EMPTY };

const distinct = (nodes: readonly number[]): readonly number[] => [...new Set(nodes)].sort(ascending);

/** `of`, from `min` to `max` times, and then `tail`. */
interface Counted {
  readonly of: number;
  min: number;
  max: number;
  readonly tail: number;
}

function countedOf(builder: Builder, option: number): Counted {
  const { head, tail } = split(builder, option);
  return { ...builder.nodes.counted(head), tail };
}

/** `r{1,5} t | r{3,9} t` is `r{1,9} t`, and `r{1,5} t | t` is `r{0,5} t`: else counters would multiply. */
function joinCounts(builder: Builder, options: readonly number[]): readonly number[] {
  const { nodes } = builder;
  const isCounted = (option: number): boolean => {
    const { head } = split(builder, option);
    return nodes.kind(head) === Kind.Repeat && head !== EMPTY;
  };
  if (!options.some(isCounted)) return options;
  const groups = new Map<string, Counted[]>();
  for (const option of options.filter(isCounted)) {
    const counted = countedOf(builder, option);
    const key = `${counted.of} ${counted.tail}`;
    groups.set(key, [...(groups.get(key) ?? []), counted]);
  }
  const rest: number[] = [];
  for (const option of options) {
    if (isCounted(option)) continue;
    const counted = countedOf(builder, option);
    const group = groups.get(`${counted.of} ${counted.tail}`);
    if (group === undefined) rest.push(option);
    else group.push(counted);
  }
  const list = [...groups.values()].flatMap(joinRanges);
  const isIn = (option: number): boolean => list.some((counted) => takesTail(counted, option));
  const others = rest.filter((option) => !isIn(option));
  for (const { of, min, max, tail } of list) {
    const isFromZero = min === 1 && rest.includes(tail);
    others.push(builder.concat(builder.repeat(of, { min: isFromZero ? 0 : min, max }), tail));
  }
  return distinct(others);
}

const takesTail = ({ tail, min }: Counted, option: number): boolean => tail === option && min <= 1;

/** Joins ranges of counts that overlap or touch. */
function joinRanges(group: readonly Counted[]): readonly Counted[] {
  const sorted = [...group].sort((one, other) => one.min - other.min || one.max - other.max);
  const joined: Counted[] = [];
  for (const counted of sorted) {
    const last = joined.at(-1);
    if (last !== undefined && counted.min <= last.max + 1) last.max = Math.max(last.max, counted.max);
    else joined.push({ ...counted });
  }
  return joined;
}

/** Drops `s r* t` beside `r* t` where `s` is within `r*`: else a search goes on in each state after it has succeeded. */
function dropWithinStars(builder: Builder, options: readonly number[]): readonly number[] {
  const { nodes } = builder;
  const stars = options.filter((option) => {
    const { of, min, max } = countedOf(builder, option);
    return min === 0 && max === INFINITY && of !== NOTHING;
  });
  if (stars.length === 0) return options;
  const dropped = new Set<number>();
  for (const star of stars) {
    const { of, tail } = countedOf(builder, star);
    for (const option of options) {
      if (option === star || dropped.has(star) || dropped.has(option)) continue;
      const isPart =
        tail === EMPTY ? isWithinStar(nodes, option, of) : endsWith(builder, option, { star, of });
      if (isPart) dropped.add(option);
    }
  }
  return options.filter((option) => !dropped.has(option));
}

/** Parts of a sequence that are compared. */
const COMPARED_HEADS = 16;

function endsWith({ nodes }: Builder, option: number, { star, of }: { star: number; of: number }): boolean {
  let rest = option;
  for (let heads = 0; heads < COMPARED_HEADS; heads++) {
    if (rest === star) return true;
    if (nodes.kind(rest) !== Kind.Concat || !isWithinStar(nodes, nodes.a(rest), of)) return false;
    rest = nodes.b(rest);
  }
  return false;
}

/** Parts of an intersection with the same language; the node of the empty language where it is obvious. */
export function simplifyIntersection(builder: Builder, parts: readonly number[]): readonly number[] {
  const { nodes } = builder;
  for (const part of parts) {
    if (nodes.kind(part) !== Kind.Not) continue;
    const of = nodes.a(part);
    const forbidden = nodes.kind(of) === Kind.Or ? [of, ...nodes.children(of)] : [of];
    if (forbidden.some((node) => parts.includes(node))) return [NOTHING];
  }
  const joined = intersectCounts(builder, intersectSets(builder, parts));
  if (joined.length < 2 || joined.length > COMPARED_PARTS) return joined;
  const isDropped = (star: number): boolean =>
    nodes.isStar(star) && joined.some((part) => part !== star && isWithinStar(nodes, part, nodes.a(star)));
  const [first = NOTHING] = joined;
  const kept = joined.filter((part) => !isDropped(part));
  return kept.length > 0 ? kept : [first];
}

function intersectSets({ nodes }: Builder, parts: readonly number[]): readonly number[] {
  const sets = parts.filter((part) => nodes.kind(part) === Kind.Set);
  if (sets.length < 2) return parts;
  const set = sets.map((node) => nodes.a(node)).reduce((one, other) => nodes.sets.intersection(one, other));
  if (nodes.sets.isEmpty(set)) return [NOTHING];
  return distinct([...parts.filter((part) => nodes.kind(part) !== Kind.Set), nodes.set(set)]);
}

/** `r{1,5} & r{3,9}` is `r{3,5}` where the length of a text tells how many repeats it has. */
function intersectCounts(builder: Builder, parts: readonly number[]): readonly number[] {
  const { nodes } = builder;
  const isExact = (of: number): boolean =>
    (nodes.minBytes(of) > 0 && nodes.minBytes(of) === nodes.maxBytes(of)) ||
    (nodes.minStarts(of) > 0 && nodes.minStarts(of) === nodes.maxStarts(of));
  const groups = new Map<number, { min: number; max: number; count: number }>();
  for (const part of parts) {
    if (nodes.kind(part) !== Kind.Repeat || !isExact(nodes.a(part))) continue;
    const { min, max, count } = groups.get(nodes.a(part)) ?? { min: 0, max: INFINITY, count: 0 };
    groups.set(nodes.a(part), {
      min: Math.max(min, nodes.b(part)),
      max: Math.min(max, nodes.c(part)),
      count: count + 1,
    });
  }
  if ([...groups.values()].every(({ count }) => count < 2)) return parts;
  const rest = parts.filter((part) => nodes.kind(part) !== Kind.Repeat || !groups.has(nodes.a(part)));
  for (const [of, bounds] of groups) rest.push(builder.repeat(of, bounds));
  return rest.includes(NOTHING) ? [NOTHING] : distinct(rest);
}
