import { MosError } from "#common";

/** Finds stop strings in streamed text. */
export interface StopScanner {
  /** Text that is no part of a stop string, and whether one was found: it and all that follows is dropped. */
  push(text: string): { readonly text: string; readonly stopped: boolean };
  /** The rest of the text, which was held back as the possible start of a stop string. */
  flush(): string;
}

/**
 * Stops at the stop string that is complete first, wherever the text is split. Text that could begin a stop string is
 * held back until that is decided.
 *
 * @throws MosError `bad_option` for an empty stop string.
 * @example
 * const scanner = createStopScanner(["\nUser:"]);
 * scanner.push("Hi.\nUs"); // { text: "Hi.", stopped: false }
 * scanner.push("er: ok"); // { text: "", stopped: true }
 */
export function createStopScanner(stops: readonly string[]): StopScanner {
  if (stops.includes("")) throw new MosError("bad_option", "a stop sequence is empty; omit it");
  let held = "";
  let stopped = false;
  return {
    push(text) {
      if (stopped) return { text: "", stopped };
      held += text;
      const start = firstStop(held, stops);
      const end = start ?? held.length - possibleStart(held, stops);
      const certain = held.slice(0, end);
      stopped = start !== undefined;
      held = stopped ? "" : held.slice(end);
      return { text: certain, stopped };
    },
    flush() {
      const rest = held;
      held = "";
      return rest;
    },
  };
}

/** The start of the stop string that ends first; the longest of those that end together. */
function firstStop(text: string, stops: readonly string[]): number | undefined {
  let best: { readonly start: number; readonly end: number } | undefined;
  for (const stop of stops) {
    const start = text.indexOf(stop);
    if (start < 0) continue;
    const end = start + stop.length;
    if (best === undefined || end < best.end || (end === best.end && start < best.start))
      best = { start, end };
  }
  return best?.start;
}

/** The length of the longest suffix of the text that is a prefix of a stop string. */
function possibleStart(text: string, stops: readonly string[]): number {
  let longest = 0;
  for (const stop of stops)
    for (let length = Math.min(stop.length - 1, text.length); length > longest; length--)
      if (text.endsWith(stop.slice(0, length))) {
        longest = length;
        break;
      }
  return longest;
}
