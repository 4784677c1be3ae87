// The facts of many tenants that the study's adapters have to keep.
import { describe, expect, test } from "vitest";
import { tenantFacts, tenantFiles } from "../../scripts/study/tenants.ts";

const sizes = { tenants: 30, facts: 4, digits: 5, seed: 3 };

const KNOWN = [
  '{"prompt":"What is the badge number of Oak Books?","completion":" 44832"}\n',
  '{"prompt":"What is the till code of Oak Books?","completion":" 80548"}\n',
].join("");

describe("facts", () => {
  test("are the same bytes for the same options, and others for another seed", () => {
    expect(tenantFiles(sizes)).toEqual(tenantFiles(sizes));
    expect(tenantFiles({ ...sizes, seed: 4 })["train.jsonl"]).not.toBe(tenantFiles(sizes)["train.jsonl"]);
    // what a published cell was trained on
    expect(tenantFiles({ ...sizes, tenants: 1, facts: 2, seed: 0 })["held-out.jsonl"]).toBe(KNOWN);
  });

  test("are as many as asked for, and none is asked twice", () => {
    const facts = tenantFacts(sizes);
    expect(facts).toHaveLength(120);
    expect(new Set(facts.map(({ tenant, thing }) => `${tenant} ${thing}`)).size).toBe(120);
    expect(new Set(facts.map(({ tenant }) => tenant)).size).toBe(30);
    expect(facts.every(({ value }) => /^\d{5}$/.test(value))).toBe(true);
  });

  test("have values that nothing gives away: every digit is about as frequent at every place", () => {
    const values = tenantFacts({ ...sizes, tenants: 500 }).map(({ value }) => value);
    for (let place = 0; place < sizes.digits; place++)
      for (let digit = 0; digit < 10; digit++) {
        const count = values.filter((value) => value[place] === String(digit)).length;
        // 200 expected, a deviation of 13
        expect(count).toBeGreaterThan(140);
        expect(count).toBeLessThan(260);
      }
  });

  test("have words for values where these are asked for, each about as often", () => {
    const values = tenantFacts({ ...sizes, tenants: 400, words: 2 }).map(({ value }) => value.split(" "));
    expect(values.every(({ length }) => length === 2)).toBe(true);
    const counts = new Map<string, number>();
    for (const word of values.flat()) counts.set(word, (counts.get(word) ?? 0) + 1);
    expect(counts.size).toBe(32);
    // 100 expected, a deviation of 10
    for (const count of counts.values()) expect(Math.abs(count - 100)).toBeLessThan(50);
  });

  test.each([{ tenants: 0 }, { tenants: 1601 }, { facts: 21 }, { digits: 0 }, { digits: 1.5 }, { words: 0 }])(
    "%o is refused",
    (changed) => {
      const name = Object.keys(changed)[0]!;
      expect(() => tenantFacts({ ...sizes, ...changed })).toThrowError(new RegExp(`^${name}: .*give 1 to`));
    },
  );
});

describe("files", () => {
  const linesOf = (name: string) => tenantFiles(sizes)[name]!.trim().split("\n");

  test("ask the facts that were trained, in another order", () => {
    expect(linesOf("held-out.jsonl")).not.toEqual(linesOf("train.jsonl"));
    expect(linesOf("held-out.jsonl").sort()).toEqual(linesOf("train.jsonl").sort());
    expect(linesOf("tuning.jsonl").sort()).toEqual(linesOf("tuning-train.jsonl").sort());
  });

  test("choose learning rates on other facts", () => {
    const known = new Set(linesOf("train.jsonl"));
    expect(linesOf("tuning.jsonl")).toHaveLength(120);
    expect(linesOf("tuning.jsonl").filter((line) => known.has(line))).toEqual([]);
  });
});
