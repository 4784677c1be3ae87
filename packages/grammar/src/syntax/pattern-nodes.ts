import { charClass, concat, either, literal, only, type Regex, repeat } from "#grammar";

/** Inclusive ranges of code points. */
export type Ranges = readonly (readonly [first: number, last: number])[];

/** Assertions that a part of a pattern contains, as bits. */
export const Uses = { Start: 1, End: 2, Word: 4, Ahead: 8, Behind: 16 } as const;

/** A parsed pattern. `uses` are the assertions in it: without any, it is a regular expression as it stands. */
export type PatternNode = { readonly uses: number } & (
  | { readonly type: "class"; readonly ranges: Ranges }
  | { readonly type: "sequence"; readonly parts: readonly PatternNode[] }
  | { readonly type: "alternatives"; readonly options: readonly PatternNode[] }
  | { readonly type: "repeat"; readonly of: PatternNode; readonly min: number; readonly max: number | null }
  | { readonly type: "start" | "end" }
  | { readonly type: "word"; readonly isNegative: boolean }
  | {
      readonly type: "look";
      readonly isAhead: boolean;
      readonly isNegative: boolean;
      readonly of: PatternNode;
    }
);

export type LookNode = Extract<PatternNode, { type: "look" }>;
export type RepeatNode = Extract<PatternNode, { type: "repeat" }>;

const usesOf = (nodes: readonly PatternNode[]): number => nodes.reduce((uses, node) => uses | node.uses, 0);

export const classNode = (ranges: Ranges): PatternNode => ({ type: "class", ranges, uses: 0 });

/** Matches nothing. */
export const NEVER: PatternNode = classNode([]);

/** Matches the empty text. */
export const EMPTY_NODE: PatternNode = { type: "sequence", parts: [], uses: 0 };

export const sequenceNode = (parts: readonly PatternNode[]): PatternNode =>
  only(parts) ?? { type: "sequence", parts, uses: usesOf(parts) };

export const alternativesNode = (options: readonly PatternNode[]): PatternNode =>
  only(options) ?? { type: "alternatives", options, uses: usesOf(options) };

export const repeatNode = (of: PatternNode, counts: { min: number; max: number | null }): RepeatNode => ({
  type: "repeat",
  of,
  ...counts,
  uses: of.uses,
});

/** Whether a part may match the empty text where all of its assertions hold. */
export function canBeEmpty(node: PatternNode): boolean {
  switch (node.type) {
    case "class":
      return false;
    case "sequence":
      return node.parts.every(canBeEmpty);
    case "alternatives":
      return node.options.some(canBeEmpty);
    case "repeat":
      return node.min === 0 || canBeEmpty(node.of);
    default:
      return true;
  }
}

/** The part where the assertion ^ or $ never holds. */
export function without(node: PatternNode, type: "start" | "end"): PatternNode {
  switch (node.type) {
    case "sequence":
      return sequenceNode(node.parts.map((part) => without(part, type)));
    case "alternatives":
      return alternativesNode(node.options.map((option) => without(option, type)));
    case "repeat":
      return repeatNode(without(node.of, type), { min: node.min, max: node.max });
    default:
      return node.type === type ? NEVER : node;
  }
}

const isText = (point: number): boolean => point < 0xd800 || point > 0xdfff;

/** Joins literals that follow each other. */
function joinLiterals(parts: readonly Regex[]): readonly Regex[] {
  const joined: Regex[] = [];
  let text = "";
  for (const part of parts) {
    if (part.type === "literal") {
      text += part.text;
      continue;
    }
    if (text !== "") joined.push(literal(text));
    text = "";
    joined.push(part);
  }
  if (text !== "") joined.push(literal(text));
  return joined;
}

/** The regular expression of a part without assertions. */
export function plainRegex(node: PatternNode): Regex {
  switch (node.type) {
    case "class": {
      const [first, last] = only(node.ranges) ?? [];
      const isPoint = first !== undefined && first === last && isText(first);
      return isPoint ? literal(String.fromCodePoint(first)) : charClass(...node.ranges);
    }
    case "sequence": {
      const parts = joinLiterals(node.parts.map(plainRegex));
      return only(parts) ?? concat(...parts);
    }
    case "alternatives":
      return either(...node.options.map(plainRegex));
    case "repeat":
      return repeat(plainRegex(node.of), node.min, node.max);
    default:
      throw new TypeError(`an assertion (${node.type}) is no regular expression`);
  }
}
