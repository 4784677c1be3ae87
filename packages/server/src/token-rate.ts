// How many tokens came in each of the last seconds.

/** Seconds that are kept. */
const SECONDS = 60;

/** @param now Milliseconds since 1970, by a clock that never goes back. */
export function createTokenRate(now: () => number) {
  // with the second that is not over
  const counts = new Array<number>(SECONDS + 1).fill(0);
  const place = (second: number): number => second % counts.length;
  let last = Math.floor(now() / 1000);
  const advance = (): void => {
    const second = Math.floor(now() / 1000);
    for (let i = Math.max(last + 1, second - SECONDS); i <= second; i++) counts[place(i)] = 0;
    last = Math.max(last, second);
  };
  return {
    /** A token came now. */
    count(): void {
      advance();
      counts[place(last)] = (counts[place(last)] ?? 0) + 1;
    },
    /** Tokens of each of the last 60 whole seconds, the latest last. */
    history(): readonly number[] {
      advance();
      return Array.from({ length: SECONDS }, (_, i) => counts[place(last - SECONDS + i)] ?? 0);
    },
  };
}
