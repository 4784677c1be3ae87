type Numbers = ArrayLike<number> | undefined;

/** The largest difference of two arrays. NaN, which is neither above nor below a bound, where they are not as long or a number is. */
export function largestDifference(a: Numbers, b: Numbers): number {
  if (a === undefined || a.length !== b?.length) return Number.NaN;
  let largest = 0;
  for (let i = 0; i < a.length; i++)
    largest = Math.max(largest, Math.abs((a[i] as number) - (b[i] as number)));
  return largest;
}
