// Requests that run at the same time, up to a limit.

/** Runs works in their order, at most so many at a time; one that was aborted before its turn does not begin. */
export function createQueue(limit: number) {
  let running = 0;
  const waiting: (() => void)[] = [];
  const leave = (): void => {
    const next = waiting.shift();
    if (next === undefined) running--;
    else next();
  };
  const enter = async (signal: AbortSignal): Promise<void> => {
    if (running < limit) running++;
    else await new Promise<void>((resolve) => waiting.push(resolve));
    if (!signal.aborted) return;
    leave();
    signal.throwIfAborted();
  };
  return {
    async run<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
      await enter(signal);
      try {
        return await work();
      } finally {
        leave();
      }
    },
  };
}
