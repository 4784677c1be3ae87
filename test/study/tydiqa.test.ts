import { describe, expect, test } from "vitest";
import { splitDocuments } from "../../scripts/study/tydiqa.ts";

const documents = Array.from({ length: 200 }, (_, i) => `document ${i % 100}`);
const sizes = { tuning: 10, heldOut: 20, seed: 0 };

describe("documents", () => {
  test("are each in one part, in parts of the sizes asked for", () => {
    const parts = splitDocuments(documents, sizes);
    const count = (part: string) => [...parts.values()].filter((one) => one === part).length;
    expect([parts.size, count("tuning"), count("held-out"), count("train")]).toEqual([100, 10, 20, 70]);
  });

  test("are split alike whatever their order, and otherwise with another seed", () => {
    const split = (of: readonly string[], seed = 0) =>
      [...splitDocuments(of, { ...sizes, seed })].sort(([a], [b]) => (a < b ? -1 : 1));
    expect(split([...documents].reverse())).toEqual(split(documents));
    expect(split(documents, 1)).not.toEqual(split(documents));
  });

  test("have to leave something to train on", () => {
    expect(() => splitDocuments(documents, { ...sizes, heldOut: 90 })).toThrowError(
      /^10 \+ 90 of 100 documents leave none to train on/,
    );
  });
});
