import { partsOf, type Regex } from "#grammar";

function withParts(regex: Regex, parts: readonly Regex[]): Regex {
  const [of = regex] = parts;
  switch (regex.type) {
    case "concat":
    case "and":
      return { type: regex.type, parts };
    case "either":
      return { type: "either", options: parts };
    case "repeat":
      return { ...regex, of };
    case "not":
      return { type: "not", of };
    default:
      return regex;
  }
}

/**
 * An expression with `change` applied to its parts, and then to itself with the changed parts. Objects that occur several times are
 * changed once, also those that earlier calls with the same `changed` met. There is no recursion, so that depth has no limit.
 */
export function mapRegex(
  regex: Regex,
  change: (regex: Regex) => Regex,
  changed = new Map<Regex, Regex>(),
): Regex {
  const stack: { regex: Regex; isReady: boolean }[] = [{ regex, isReady: false }];
  for (let top = stack.pop(); top !== undefined; top = stack.pop()) {
    const { regex: node, isReady } = top;
    if (changed.has(node)) continue;
    const parts = partsOf(node);
    if (isReady || parts.length === 0) {
      const mapped = parts.map((part) => changed.get(part) ?? part);
      changed.set(node, change(parts.length === 0 ? node : withParts(node, mapped)));
      continue;
    }
    stack.push({ regex: node, isReady: true });
    for (const part of parts) if (!changed.has(part)) stack.push({ regex: part, isReady: false });
  }
  return changed.get(regex) ?? regex;
}
