import { charClass, concat, either, literal, type Regex, repeat } from "#grammar";
import type { PatternNode } from "./pattern-nodes.ts";

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
      const [only, second] = node.ranges;
      const isPoint = only !== undefined && second === undefined && only[0] === only[1] && isText(only[0]);
      return isPoint ? literal(String.fromCodePoint(only[0])) : charClass(...node.ranges);
    }
    case "sequence": {
      const parts = joinLiterals(node.parts.map(plainRegex));
      const [only] = parts;
      return parts.length === 1 && only !== undefined ? only : concat(...parts);
    }
    case "alternatives":
      return either(...node.options.map(plainRegex));
    case "repeat":
      return repeat(plainRegex(node.of), node.min, node.max);
    default:
      throw new TypeError(`an assertion (${node.type}) is no regular expression`);
  }
}
