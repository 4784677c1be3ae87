import { mapRegex } from "#automaton";
import {
  and,
  charClass,
  concat,
  either,
  literal,
  NOTHING,
  not,
  optional,
  type Regex,
  repeat,
} from "#grammar";
import {
  compare,
  type Decimal,
  decimal,
  decimalOf,
  digitsOf,
  greatestDivisor,
  negate,
  textOf,
} from "./decimal.ts";
import { type Bound, listRange, type NumberRange, stepOf } from "./numbers.ts";

/** Digits before and after the point, which a model could otherwise write without end. */
const MAX_DIGITS = 100;
/** Significant digits by which doubles tell all decimal numbers apart. */
const EXACT_DIGITS = 15;
/** Numbers of a range that are written out where no pattern describes them. */
const MAX_LISTED = 10_000;
/** Endings that tell the multiples of a number. */
const MAX_ENDINGS = 5000;

const DIGIT = charClass("09");
const NON_ZERO = charClass("19");
const ZEROS = repeat(literal("0"));
const sign = optional(literal("-"));
/** Any number of digits by default: where languages are compared, one of them counts the digits, as two counters would multiply. */
const digits = (min: number, max: number | null = null): Regex => repeat(DIGIT, min, max);
/** Digits of which one is not zero. */
const NOT_ALL_ZERO = concat(ZEROS, NON_ZERO, digits(0));

/** Digits without a sign and without leading zeros. */
const WHOLE = either(literal("0"), concat(NON_ZERO, digits(0, MAX_DIGITS - 1)));
const fraction = (max: number | null = null): Regex => concat(literal("."), digits(1, max));
const PLAIN = concat(WHOLE, optional(fraction(MAX_DIGITS)));
const EXPONENT = concat(
  charClass("e", "E"),
  optional(charClass("+", "-")),
  either(digits(1, 2), concat(literal("1"), digits(2, 2))),
);
const MANTISSA_NOT_ZERO = and(PLAIN, not(repeat(charClass("0", "."))));

/** Numbers that doubles tell apart: of others, the last digits that decide about a multiple would be lost. */
const EXACT = concat(sign, repeat(charClass("09", "."), 1, EXACT_DIGITS));

/** What JSON allows as a number, with at most 100 digits before and after the point and exponents that doubles can hold. */
const NUMBER = concat(sign, PLAIN, optional(EXPONENT));

/**
 * The spellings of the numbers in a range, or undefined if its multiples have no pattern of a sensible size. Integers are spelled
 * without a point; exponents are left out where they would make the comparison with a bound hard.
 */
export function rangeText(range: NumberRange): Regex | undefined {
  const step = range.multiples.length === 0 ? undefined : stepOf(range);
  const isSimple = step === undefined && range.others.length === 0;
  const listed = listRange(range, isSimple ? 1 : MAX_LISTED);
  if (listed !== undefined) return either(...listed.flatMap(spellings).map(literal));
  const multiples = step === undefined ? [] : [multiplesText(step)];
  const others = range.others.map((other) => multiplesText(other));
  const known = [...multiples, ...others].filter((text) => text !== undefined);
  if (known.length < multiples.length + others.length) return undefined;
  const parts = [...known.slice(0, multiples.length), ...known.slice(multiples.length).map(not)];
  if (range.kind === "integer") parts.push(concat(sign, WHOLE));
  if (range.kind === "fractional") parts.push(concat(sign, WHOLE, literal("."), NOT_ALL_ZERO));
  if (known.length > 0 || range.kind === "fractional") parts.push(EXACT);
  const bounded = boundedText(range);
  return parts.length === 0 ? bounded : and(bounded, ...parts);
}

/** How a number is written: in plain digits, or as JavaScript prints it. */
function spellings(value: Decimal): readonly string[] {
  const plain = textOf(value);
  const printed = String(Number(plain));
  return printed === plain || compare(decimalOf(Number(plain)), value) !== 0 ? [plain] : [plain, printed];
}

function boundedText({ min, max }: NumberRange): Regex {
  if (min === undefined && max === undefined) return NUMBER;
  if (max === undefined && min?.at.units === 0n)
    return concat(min.isOpen ? MANTISSA_NOT_ZERO : PLAIN, optional(EXPONENT));
  const flipped = { min: flip(max), max: flip(min) };
  return either(unsignedText({ min, max }), concat(literal("-"), unsignedText(flipped)));
}

const flip = (bound: Bound | undefined): Bound | undefined => bound && { ...bound, at: negate(bound.at) };

/** Spellings without a sign of the numbers from 0 on in a range. */
function unsignedText({ min, max }: { min?: Bound | undefined; max?: Bound | undefined }): Regex {
  const zero = decimal(0n);
  const highest = max && compare(max.at, zero);
  if (max !== undefined && highest !== undefined && (highest < 0 || (highest === 0 && max.isOpen)))
    return NOTHING;
  const parts: Regex[] = [concat(WHOLE, optional(fraction(fractionDigits(min, max))))];
  if (max !== undefined) parts.push(not(above(max.at, !max.isOpen)));
  const lowest = min && compare(min.at, zero);
  if (min !== undefined && lowest !== undefined && (lowest > 0 || (lowest === 0 && min.isOpen)))
    parts.push(above(min.at, min.isOpen));
  return and(...parts);
}

/** Digits after the point. Beside an open bound, a number with too many would be read as the bound itself. */
function fractionDigits(min: Bound | undefined, max: Bound | undefined): number {
  const open = [min, max].filter((bound) => bound?.isOpen && bound.at.units !== 0n);
  const wholes = open.map(
    (bound) =>
      digitsOf(bound && bound.at.units < 0n ? negate(bound.at) : (bound?.at ?? decimal(0n))).whole.length,
  );
  return open.length === 0 ? MAX_DIGITS : Math.max(1, EXACT_DIGITS - Math.max(...wholes));
}

/** Plain spellings of the numbers above a number that is not negative, or of those from it on. */
function above(value: Decimal, isOpen: boolean): Regex {
  const { whole, fraction: after } = digitsOf(value);
  const longer = concat(NON_ZERO, digits(whole.length));
  const sameWhole = concat(literal(whole), fractionFrom(after, isOpen));
  return either(concat(either(longer, greaterDigits(whole)), optional(fraction())), sameWhole);
}

/** Digits of the same length that are greater. */
function greaterDigits(text: string): Regex {
  const options = Array.from(text, (digit, index) =>
    concat(
      literal(text.slice(0, index)),
      greaterDigit(digit),
      repeat(DIGIT, text.length - index - 1, text.length - index - 1),
    ),
  );
  return and(WHOLE, either(...options));
}

const greaterDigit = (digit: string): Regex => (digit === "9" ? NOTHING : charClass(`${Number(digit) + 1}9`));

/** The point and the digits after it, of fractions above this one or from it on. */
function fractionFrom(text: string, isOpen: boolean): Regex {
  const greater = Array.from(text, (digit, index) =>
    concat(literal(`.${text.slice(0, index)}`), greaterDigit(digit), digits(0)),
  );
  if (isOpen) return either(...greater, concat(literal(`.${text}`), NOT_ALL_ZERO));
  return text === "" ? optional(fraction()) : either(...greater, concat(literal(`.${text}`), digits(0)));
}

/** Plain spellings of the multiples of a number, with any zeros in front. */
function multiplesText({ units, scale }: Decimal): Regex | undefined {
  const step = units < 0n ? -units : units;
  const options: Regex[] = [];
  // with fewer decimals than the scale, the digits that are left out are zeros
  for (let decimals = 0; decimals <= scale; decimals++) {
    const text = divisibleText(step / greatestDivisor(step, 10n ** BigInt(scale - decimals)));
    if (text === undefined) return undefined;
    const isPlaced = concat(digits(1), literal("."), digits(decimals, decimals));
    options.push(decimals === 0 ? text : and(isPlaced, mapRegex(text, withPoints)));
  }
  const last = options.pop() ?? NOTHING;
  const zeros = scale === 0 ? optional(concat(literal("."), repeat(literal("0"), 1))) : ZEROS;
  return concat(sign, either(...options, concat(last, zeros)));
}

/** Digits before each of which a point may stand. */
function withPoints(regex: Regex): Regex {
  const point = optional(literal("."));
  if (regex.type === "literal")
    return concat(...Array.from(regex.text, (digit) => concat(point, literal(digit))));
  return regex.type === "class" ? concat(point, regex) : regex;
}

/** Digits whose number is divisible, told by the last ones and the remainder by 3, 7 or 9. */
function divisibleText(divisor: bigint): Regex | undefined {
  let [twos, fives, rest] = [0, 0, divisor];
  while (rest % 2n === 0n) [twos, rest] = [twos + 1, rest / 2n];
  while (rest % 5n === 0n) [fives, rest] = [fives + 1, rest / 5n];
  const remainder = rest === 1n ? digits(1) : remainderText(Number(rest));
  const length = Math.max(twos, fives);
  const base = divisor / rest;
  const count = 10n ** BigInt(length) / base;
  if (remainder === undefined || count > BigInt(MAX_ENDINGS)) return undefined;
  if (length === 0) return remainder;
  const values = Array.from({ length: Number(count) }, (_, index) => (BigInt(index) * base).toString());
  const short = values.filter((one) => one.length < length).map(literal);
  const long = concat(digits(0), either(...values.map((one) => literal(one.padStart(length, "0")))));
  return and(either(...short, long), remainder);
}

/** Digits whose number is divisible, by elimination of the states of the automaton that reads remainders. */
function remainderText(divisor: number): Regex | undefined {
  if (divisor > 9) return undefined;
  const edges = Array.from({ length: divisor }, (_, from) =>
    Array.from({ length: divisor }, (_, to) =>
      either(
        ...Array.from({ length: 10 }, (_, digit) => digit)
          .filter((digit) => (from * 10 + digit) % divisor === to)
          .map((digit) => literal(String(digit))),
      ),
    ),
  );
  for (let state = divisor - 1; state > 0; state--) eliminate(edges, state);
  const loop = edges[0]?.[0] ?? NOTHING;
  return concat(loop, repeat(loop));
}

/** Replaces the ways through a state by edges between the states below it. */
function eliminate(edges: Regex[][], state: number): void {
  const loop = repeat(edges[state]?.[state] ?? NOTHING);
  for (const row of edges.slice(0, state)) {
    const into = row[state] ?? NOTHING;
    for (let to = 0; to < state; to++)
      row[to] = either(row[to] ?? NOTHING, concat(into, loop, edges[state]?.[to] ?? NOTHING));
  }
}
