/** A part of an axis. */
export interface Range {
  readonly min: number;
  readonly max: number;
}

/** Moves a range within bounds, keeping its width. */
export function panned({ min, max }: Range, by: number, bounds: Range): Range {
  const within = Math.min(Math.max(by, bounds.min - min), bounds.max - max);
  return { min: min + within, max: max + within };
}

/**
 * Narrows a range to `factor` of its width, or widens it up to the bounds; the value `at` stays where it is on the screen.
 *
 * @returns the range unchanged where less than a thousandth of the bounds would be left.
 */
export function zoomed(range: Range, { at, factor }: { at: number; factor: number }, bounds: Range): Range {
  const { min, max } = range;
  const next = { min: at - (at - min) * factor, max: at + (max - at) * factor };
  if (next.max - next.min < (bounds.max - bounds.min) / 1000) return range;
  return { min: Math.max(bounds.min, next.min), max: Math.min(bounds.max, next.max) };
}

/** Tests for a range that leaves nothing out. */
export const isWhole = ({ min, max }: Range, bounds: Range): boolean =>
  min <= bounds.min && max >= bounds.max;
