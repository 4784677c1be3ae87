// Python's str.strip(), lstrip() and rstrip().

// JavaScript's trim() differs: it keeps U+001C-1F and U+0085, and removes U+FEFF
const SPACE = "[\\t-\\r\\u001c- \\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]";
const IS_SPACE = new RegExp(SPACE, "u");

/** Python's methods by name: at both ends, at the start, at the end. */
export type StripSide = "strip" | "lstrip" | "rstrip";

/** The text without these characters at its ends, in any order and number; without white space by default. */
export function pythonStrip(
  text: string,
  { chars, side = "strip" }: { readonly chars?: string | undefined; readonly side?: StripSide } = {},
): string {
  const given = chars === undefined ? undefined : new Set(chars);
  const goes = (one: string): boolean => given?.has(one) ?? IS_SPACE.test(one);
  let [start, end] = [0, text.length];
  // loops, since a pattern anchored at the end takes quadratic time
  while (side !== "rstrip" && start < end) {
    const one = String.fromCodePoint(text.codePointAt(start) ?? 0);
    if (!goes(one)) break;
    start += one.length;
  }
  while (side !== "lstrip" && start < end) {
    const pair = text.slice(Math.max(start, end - 2), end);
    const one = (pair.codePointAt(0) ?? 0) > 0xffff ? pair : pair.slice(-1);
    if (!goes(one)) break;
    end -= one.length;
  }
  return text.slice(start, end);
}
