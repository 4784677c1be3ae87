/** An exact decimal number: `units` divided by ten to the power of `scale`, which is at least 0. */
export interface Decimal {
  readonly units: bigint;
  readonly scale: number;
}

export const decimal = (units: bigint, scale = 0): Decimal => ({ units, scale });

const TEN = 10n;

/** The decimal number that JavaScript prints for a double. */
export function decimalOf(value: number): Decimal {
  const match = /^(-?)(\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/.exec(String(value));
  if (match === null) throw new TypeError(`${value} is no finite number`);
  const [, sign = "", whole = "", fraction = "", power = "0"] = match;
  const units = BigInt(`${sign}${whole}${fraction}`);
  const scale = fraction.length - Number(power);
  return reduce(scale >= 0 ? decimal(units, scale) : decimal(units * TEN ** BigInt(-scale)));
}

function reduce({ units, scale }: Decimal): Decimal {
  let [left, digits] = [units, scale];
  while (digits > 0 && left % TEN === 0n) [left, digits] = [left / TEN, digits - 1];
  return decimal(left, digits);
}

/** The units at a scale that is at least the number's own. */
export const unitsAt = ({ units, scale }: Decimal, target: number): bigint =>
  units * TEN ** BigInt(target - scale);

/** Negative, 0 or positive, as the first number is below, at or above the second. */
export function compare(a: Decimal, b: Decimal): number {
  const scale = Math.max(a.scale, b.scale);
  const difference = unitsAt(a, scale) - unitsAt(b, scale);
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}

export const negate = ({ units, scale }: Decimal): Decimal => decimal(-units, scale);

/** The largest integer that is at most this number. */
export function floor({ units, scale }: Decimal): bigint {
  const unit = TEN ** BigInt(scale);
  const quotient = units / unit;
  return units % unit < 0n ? quotient - 1n : quotient;
}

export const ceil = (value: Decimal): bigint => -floor(negate(value));

export const isInteger = (value: Decimal): boolean => reduce(value).scale === 0;

export const isMultiple = (value: Decimal, step: Decimal): boolean => {
  const scale = Math.max(value.scale, step.scale);
  return unitsAt(value, scale) % unitsAt(step, scale) === 0n;
};

export const greatestDivisor = (a: bigint, b: bigint): bigint => (b === 0n ? a : greatestDivisor(b, a % b));

/** The least positive number that is a multiple of both. */
export function leastMultiple(a: Decimal, b: Decimal): Decimal {
  const scale = Math.max(a.scale, b.scale);
  const [x, y] = [unitsAt(a, scale), unitsAt(b, scale)];
  return reduce(decimal((x * y) / greatestDivisor(x, y), scale));
}

/** The digits before and after the point of a number that is not negative, without trailing zeros. */
export function digitsOf(value: Decimal): { readonly whole: string; readonly fraction: string } {
  const { units, scale } = reduce(value);
  const digits = units.toString().padStart(scale + 1, "0");
  return { whole: digits.slice(0, digits.length - scale), fraction: digits.slice(digits.length - scale) };
}

/** The number in plain digits. */
export function textOf(value: Decimal): string {
  const { whole, fraction } = digitsOf(value.units < 0n ? negate(value) : value);
  return `${value.units < 0n ? "-" : ""}${whole}${fraction === "" ? "" : `.${fraction}`}`;
}
