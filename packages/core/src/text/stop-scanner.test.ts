import fc from "fast-check";
import { expect, test } from "vitest";
import { runs } from "../../../../test/runs.ts";
import { createStopScanner } from "./detokenizer.ts";

// Few letters, so that stop strings overlap with text and with each other.
const letters = fc.string({ unit: fc.constantFrom("a", "b", "\n"), maxLength: 12 });
const stopStrings = fc.array(
  fc.string({ unit: fc.constantFrom("a", "b", "\n"), minLength: 1, maxLength: 4 }),
  {
    maxLength: 3,
  },
);

/** The slow definition: read letter by letter until the text ends with a stop string; drop the longest such. */
function reference(
  text: string,
  stops: readonly string[],
): ReturnType<ReturnType<typeof createStopScanner>["push"]> {
  for (let end = 1; end <= text.length; end++) {
    const ended = stops.filter((stop) => text.slice(0, end).endsWith(stop)).map((stop) => stop.length);
    const start = end - Math.max(...ended);
    if (ended.length > 0) return { text: text.slice(0, start), stopped: true, stop: text.slice(start, end) };
  }
  return { text, stopped: false };
}

test("however the text is split, the same text comes out, and stops at the same position", () => {
  fc.assert(
    fc.property(fc.array(letters, { maxLength: 8 }), stopStrings, (pieces, stops) => {
      const scanner = createStopScanner(stops);
      const parts = pieces.map((piece) => scanner.push(piece));
      const text = parts.map((part) => part.text).join("") + scanner.flush();
      const { stopped = false } = parts.at(-1) ?? {};
      const stop = parts.find((part) => part.stop !== undefined)?.stop;
      expect({ text, stopped, stop }).toEqual(reference(pieces.join(""), stops));
    }),
    { numRuns: runs(2000) },
  );
});

test("holds back no more than could become a stop string", () => {
  fc.assert(
    fc.property(letters, stopStrings, (text, stops) => {
      const scanner = createStopScanner(stops);
      const { stopped } = scanner.push(text);
      const held = scanner.flush();
      if (!stopped && held !== "")
        expect(stops.some((stop) => stop.startsWith(held) && stop !== held)).toBe(true);
    }),
  );
});

test("text after the stop string is dropped", () => {
  const scanner = createStopScanner(["\nUser:"]);
  expect(scanner.push("Hi.\nUs")).toEqual({ text: "Hi.", stopped: false });
  expect(scanner.push("er: more")).toEqual({ text: "", stopped: true, stop: "\nUser:" });
  expect(scanner.push("more")).toEqual({ text: "", stopped: true });
  expect(scanner.flush()).toBe("");
});

test("an empty stop string is refused", () => {
  expect(() => createStopScanner(["a", ""])).toThrowError(
    expect.objectContaining({ code: "bad_option", message: "a stop sequence is empty; omit it" }),
  );
});
