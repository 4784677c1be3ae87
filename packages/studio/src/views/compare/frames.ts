// Streams make a hundred chunks a second each; the page is drawn once a frame with all that has come.

/** Calls once, at the next frame, or soon where the page is hidden and has no frames. */
export type Schedule = (run: () => void) => void;

export const nextFrame: Schedule = (run) => {
  if (document.visibilityState === "hidden") setTimeout(run, 100);
  else requestAnimationFrame(run);
};

/** Collects items, and hands over all of them at the next frame. */
export function collectFrames<T>(take: (items: readonly T[]) => void, schedule: Schedule = nextFrame) {
  let held: T[] = [];
  const flush = (): void => {
    const items = held;
    held = [];
    if (items.length > 0) take(items);
  };
  return {
    add(item: T): void {
      held.push(item);
      if (held.length === 1) schedule(flush);
    },
    /** Hands over at once what waits for a frame. */
    flush,
  };
}
