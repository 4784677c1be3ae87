// Blind comparison: panes in an order that a seed decides, under letters.

/** Numbers of [0, 1) that a seed decides (Mulberry32). */
export function randomBySeed(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The items in an order that the seed decides; each order is equally likely. */
export function shuffle<T>(items: readonly T[], seed: number): readonly T[] {
  const random = randomBySeed(seed);
  const shuffled = [...items];
  for (let left = shuffled.length; left > 1; left--) {
    const [taken] = shuffled.splice(Math.floor(random() * left), 1);
    if (taken !== undefined) shuffled.push(taken);
  }
  return shuffled;
}

/** The name of a pane whose model is not to be known: A, B, … */
export const letter = (index: number): string => String.fromCharCode(65 + index);
