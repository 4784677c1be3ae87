/**
 * Milliseconds since 1970 by a clock that nobody sets: it goes on from the machine's time at the start of the process, so
 * that intervals are right however the machine's clock jumps meanwhile.
 */
export const monotonicNow = (): number => performance.timeOrigin + performance.now();
