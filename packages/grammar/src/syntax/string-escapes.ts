const CONTROLS: ReadonlyMap<string, number> = new Map(
  Object.entries({ n: 0x0a, r: 0x0d, t: 0x09, f: 0x0c, b: 0x08, v: 0x0b, "0": 0 }),
);
/** Characters that stand for themselves after a backslash. */
const ITSELF = /[\\"'/[\]^-]/;

const ESCAPE =
  /\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|u\{([0-9a-fA-F]{1,6})\}|U([0-9a-fA-F]{8})|([^xuU]))/y;

/** A character that an escape sequence stands for, with the sequence's length. */
export interface Escaped {
  readonly codePoint: number;
  readonly length: number;
}

/** Reads the escape sequence that begins at an offset; undefined where none is known. */
export function readEscape(text: string, at: number): Escaped | undefined {
  ESCAPE.lastIndex = at;
  const match = ESCAPE.exec(text);
  if (match === null) return undefined;
  const [whole, byte, short, braced, long, simple = ""] = match;
  const hex = byte ?? short ?? braced ?? long;
  if (hex === undefined) {
    const codePoint = CONTROLS.get(simple) ?? (ITSELF.test(simple) ? simple.codePointAt(0) : undefined);
    return codePoint === undefined ? undefined : { codePoint, length: whole.length };
  }
  const high = Number.parseInt(hex, 16);
  const low = /^\\u([dD][c-fC-F][0-9a-fA-F]{2})/.exec(text.slice(at + whole.length, at + whole.length + 6));
  if (short !== undefined && high >= 0xd800 && high < 0xdc00 && low?.[1] !== undefined) {
    const codePoint = 0x10000 + ((high - 0xd800) << 10) + (Number.parseInt(low[1], 16) - 0xdc00);
    return { codePoint, length: whole.length + 6 };
  }
  const isScalar = high <= 0x10ffff && (high < 0xd800 || high > 0xdfff);
  return isScalar ? { codePoint: high, length: whole.length } : undefined;
}
