// Python's str.strip() and JavaScript's trim() differ: Python also takes U+001C-1F and U+0085, and leaves U+FEFF.
const SPACE = "[\\t-\\r\\u001c- \\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]";
const LEADING = new RegExp(`^${SPACE}+`, "u");
const IS_SPACE = new RegExp(SPACE, "u");

/** Python's `str.strip()`. */
export function pythonStrip(text: string): string {
  const start = text.replace(LEADING, "");
  let end = start.length; // from the end by hand: a pattern anchored there takes quadratic time
  while (end > 0 && IS_SPACE.test(start.charAt(end - 1))) end--;
  return start.slice(0, end);
}
