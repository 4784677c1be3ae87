import {
  ceil,
  compare,
  type Decimal,
  decimal,
  floor,
  isInteger,
  isMultiple,
  leastMultiple,
  unitsAt,
} from "./decimal.ts";

/** One end of a range. */
export interface Bound {
  readonly at: Decimal;
  /** Whether the number itself is outside. */
  readonly isOpen: boolean;
}

/** The numbers between two bounds that are integers, or are not, and are multiples of some numbers and not of others. */
export interface NumberRange {
  readonly min?: Bound | undefined;
  readonly max?: Bound | undefined;
  readonly kind: "any" | "integer" | "fractional";
  readonly multiples: readonly Decimal[];
  readonly others: readonly Decimal[];
}

export const ANY_NUMBER: NumberRange = { kind: "any", multiples: [], others: [] };
export const ANY_INTEGER: NumberRange = { ...ANY_NUMBER, kind: "integer" };

/** The range of one number. */
export function point(at: Decimal): NumberRange {
  const bound = { at, isOpen: false };
  return { ...ANY_NUMBER, min: bound, max: bound };
}

function tighter(a: Bound | undefined, b: Bound | undefined, sign: 1 | -1): Bound | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  const order = sign * compare(a.at, b.at);
  if (order === 0) return a.isOpen ? a : b;
  return order > 0 ? a : b;
}

/** The numbers in both ranges; undefined if there are none. */
export function intersectRanges(a: NumberRange, b: NumberRange): NumberRange | undefined {
  if (a.kind !== b.kind && a.kind !== "any" && b.kind !== "any") return undefined;
  return normalize({
    min: tighter(a.min, b.min, 1),
    max: tighter(a.max, b.max, -1),
    kind: a.kind === "any" ? b.kind : a.kind,
    multiples: a.multiples.length === 0 ? b.multiples : [...a.multiples, ...b.multiples],
    others: a.others.length === 0 ? b.others : [...a.others, ...b.others],
  });
}

/** The same range with integral bounds where it has integers only; undefined if it is surely empty. */
export function normalize(range: NumberRange): NumberRange | undefined {
  const { min, max } = range.kind === "integer" ? integralBounds(range) : range;
  const result = { ...range, min, max };
  if (min === undefined || max === undefined) return result;
  const order = compare(min.at, max.at);
  if (order > 0 || (order === 0 && (min.isOpen || max.isOpen))) return undefined;
  return order < 0 || includes(result, min.at) ? result : undefined;
}

function integralBounds({ min, max }: NumberRange): Pick<NumberRange, "min" | "max"> {
  const closed = (at: bigint): Bound => ({ at: decimal(at), isOpen: false });
  const first = min && (min.isOpen ? floor(min.at) + 1n : ceil(min.at));
  const last = max && (max.isOpen ? ceil(max.at) - 1n : floor(max.at));
  return {
    min: first === undefined ? undefined : closed(first),
    max: last === undefined ? undefined : closed(last),
  };
}

function isWithin({ min, max }: NumberRange, value: Decimal): boolean {
  const low = min === undefined ? 1 : compare(value, min.at);
  const high = max === undefined ? -1 : compare(value, max.at);
  return (low > 0 || (low === 0 && !min?.isOpen)) && (high < 0 || (high === 0 && !max?.isOpen));
}

export const includes = (range: NumberRange, value: Decimal): boolean =>
  isWithin(range, value) &&
  (range.kind === "any" || isInteger(value) === (range.kind === "integer")) &&
  range.multiples.every((step) => isMultiple(value, step)) &&
  !range.others.some((step) => isMultiple(value, step));

/** The numbers outside of a range. */
export function complementRange(range: NumberRange): readonly NumberRange[] {
  const outside: NumberRange[] = [];
  if (range.min !== undefined)
    outside.push({ ...ANY_NUMBER, max: { at: range.min.at, isOpen: !range.min.isOpen } });
  if (range.max !== undefined)
    outside.push({ ...ANY_NUMBER, min: { at: range.max.at, isOpen: !range.max.isOpen } });
  if (range.kind !== "any")
    outside.push({ ...ANY_NUMBER, kind: range.kind === "integer" ? "fractional" : "integer" });
  for (const step of range.multiples) outside.push({ ...ANY_NUMBER, others: [step] });
  for (const step of range.others) outside.push({ ...ANY_NUMBER, multiples: [step] });
  return outside;
}

/** The number that all numbers of the range are multiples of; undefined if there is none. */
export function stepOf({ kind, multiples }: NumberRange): Decimal | undefined {
  const steps = kind === "integer" ? [decimal(1n), ...multiples] : multiples;
  return steps.length === 0 ? undefined : steps.reduce(leastMultiple);
}

/** The numbers of the range, if it is known to have at most so many; undefined otherwise. */
export function listRange(range: NumberRange, limit: number): readonly Decimal[] | undefined {
  const { min, max } = range;
  if (min === undefined || max === undefined) return undefined;
  if (compare(min.at, max.at) === 0) return [min.at];
  const step = stepOf(range);
  if (step === undefined) return undefined;
  const scale = Math.max(step.scale, min.at.scale, max.at.scale);
  const units = unitsAt(step, scale);
  const first = ceil(quotient(unitsAt(min.at, scale), units));
  const last = floor(quotient(unitsAt(max.at, scale), units));
  if (last - first >= BigInt(limit)) return undefined;
  const values = Array.from({ length: Math.max(0, Number(last - first) + 1) }, (_, index) =>
    decimal((first + BigInt(index)) * step.units, step.scale),
  );
  return values.filter((value) => includes(range, value));
}

/** A decimal between the same integers as the exact quotient, and equal to it where that is an integer. */
function quotient(value: bigint, divisor: bigint): Decimal {
  const whole = value / divisor;
  const rest = value % divisor;
  if (rest === 0n) return decimal(whole);
  return decimal(whole * 10n + (rest < 0n ? -5n : 5n), 1);
}
