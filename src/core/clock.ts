/**
 * Milliseconds since 1970 by a clock that nobody sets: it goes on from the machine's time at the start of the process, so
 * that intervals are right however the machine's clock jumps meanwhile.
 */
export const steadyNow = (): number => performance.timeOrigin + performance.now();
