import { normalizeRanges } from "#grammar";
import { EMPTY } from "./kinds.ts";
import type { Builder } from "./node-builder.ts";

type Range = readonly [first: number, last: number];

/** Continuation bytes hold 6 bits each. */
const CONTINUATION: Range = [0x80, 0xbf];

/** Encodings by length: their code points, and the leading byte of code point 0. Surrogates have none. */
const ENCODINGS: readonly { range: Range; continuations: number; lead: number }[] = [
  { range: [0, 0x7f], continuations: 0, lead: 0 },
  { range: [0x80, 0x7ff], continuations: 1, lead: 0xc0 },
  { range: [0x800, 0xd7ff], continuations: 2, lead: 0xe0 },
  { range: [0xe000, 0xffff], continuations: 2, lead: 0xe0 },
  { range: [0x10000, 0x10ffff], continuations: 3, lead: 0xf0 },
];

/** The UTF-8 of one code point in these ranges. Leading bytes with equal continuations share a node, so that there are few. */
export function addClass(builder: Builder, ranges: readonly Range[]): number {
  const normal = normalizeRanges(ranges);
  // first bytes of all lengths, by the node of what follows
  const leads = new Map<number, Range[]>();
  for (const { range, continuations, lead } of ENCODINGS) {
    const inside = clip(normal, range);
    for (const [node, values] of groupByRest(builder, inside, continuations)) {
      const bytes = values.map(([first, last]): Range => [lead + first, lead + last]);
      leads.set(node, [...(leads.get(node) ?? []), ...bytes]);
    }
  }
  return joinGroups(builder, leads);
}

function clip(ranges: readonly Range[], [low, high]: Range): readonly Range[] {
  const clipped: Range[] = [];
  for (const [first, last] of ranges) {
    if (last >= low && first <= high) clipped.push([Math.max(first, low), Math.min(last, high)]);
  }
  return clipped;
}

const joinGroups = (builder: Builder, groups: ReadonlyMap<number, readonly Range[]>): number =>
  builder.or([...groups].map(([rest, values]) => builder.concat(builder.set(values), rest)));

/** Values of the first byte's bits, by the node of the continuation bytes that may follow. */
function groupByRest(
  builder: Builder,
  ranges: readonly Range[],
  continuations: number,
): ReadonlyMap<number, readonly Range[]> {
  const groups = new Map<number, Range[]>();
  const put = (rest: number, values: Range): void => {
    const group = groups.get(rest);
    if (group === undefined) groups.set(rest, [values]);
    else group.push(values);
  };
  if (continuations === 0) {
    for (const range of ranges) put(EMPTY, range);
    return groups;
  }
  const size = 64 ** continuations;
  // parts of ranges under one value that other values do not share
  const parts = new Map<number, Range[]>();
  for (const [first, last] of ranges) {
    for (const [from, to] of splitAt(first, last, size)) {
      const value = Math.floor(from / size);
      const isWhole = from % size === 0 && (to + 1) % size === 0;
      if (isWhole) put(anyContinuations(builder, continuations), [value, Math.floor(to / size)]);
      else parts.set(value, [...(parts.get(value) ?? []), [from % size, to % size]]);
    }
  }
  for (const [value, inside] of parts) {
    const bytes = [...groupByRest(builder, inside, continuations - 1)];
    const shifted = bytes.map(([rest, values]) => {
      const continued = values.map(([first, last]): Range => [0x80 + first, 0x80 + last]);
      return [rest, continued] as const;
    });
    put(joinGroups(builder, new Map(shifted)), [value, value]);
  }
  return groups;
}

/** Pieces of a range: what is within the first and the last block of this size, and the whole blocks between them. */
function splitAt(first: number, last: number, size: number): readonly Range[] {
  const [low, high] = [Math.ceil(first / size) * size, Math.floor((last + 1) / size) * size];
  if (low > high) return [[first, last]];
  const pieces: Range[] = [
    [first, low - 1],
    [low, high - 1],
    [high, last],
  ];
  return pieces.filter(([from, to]) => from <= to);
}

function anyContinuations(builder: Builder, count: number): number {
  let node = EMPTY;
  for (let index = 0; index < count; index++) node = builder.concat(builder.set([CONTINUATION]), node);
  return node;
}
