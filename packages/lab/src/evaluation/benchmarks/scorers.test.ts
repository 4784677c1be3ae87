import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { startCpuTimer } from "../../../../../test/cpu-time.ts";
import { RULES, type Rules } from "../benchmark.ts";
import { goldNumber } from "./gsm8k.ts";
import { benchmarks } from "./index.ts";

type Row = readonly [
  prediction: string,
  references: readonly string[],
  extracted: string,
  scores: Readonly<Record<string, number>>,
];
const tables: Readonly<Record<(typeof NAMES)[number], Partial<Record<Rules, readonly Row[]>>>> = JSON.parse(
  readFileSync("test/fixtures/scoring.json", "utf8"),
);
const NAMES = ["mmlu", "bbh", "gsm8k", "tydiqa", "facts"] as const;

/** Texts with what the rules stumble over. */
const trap = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        "the answer is ",
        "The answer is ",
        "#### ",
        "a",
        "the",
        "an",
        ".",
        ",",
        "$",
        "-",
        "(B)",
      ),
      fc.constantFrom(
        " ",
        "\n",
        "\r",
        "\u2028",
        "\u0085",
        "\u001c",
        "\ufeff",
        "\u0301",
        "\u200d",
        "１",
        "٣",
        "½",
      ),
      fc.nat({ max: 99 }).map(String),
      fc.string({ unit: "binary", maxLength: 4 }),
    ),
    { maxLength: 12 },
  )
  .map((parts) => parts.join(""));
const arbitraryRules = fc.constantFrom(...RULES);

describe.each(NAMES)("%s: hand-made cases", (task) => {
  test("there are 30 at least", () => {
    expect(Object.values(tables[task]).flat().length).toBeGreaterThanOrEqual(30);
  });
  for (const rules of RULES)
    test.each(tables[task][rules] ?? [])(
      `${rules}: %j for %j`,
      (prediction, references, extracted, scores) => {
        const verdict = benchmarks[task].scorers[rules](prediction, references);
        expect(verdict.extracted).toBe(extracted);
        expect(Object.keys(verdict.scores)).toEqual(Object.keys(scores));
        for (const [metric, score] of Object.entries(scores))
          expect(verdict.scores[metric], metric).toBeCloseTo(score, 9);
      },
    );
});

test("rules without a task of their own in lm-evaluation-harness score as open-instruct does", () => {
  for (const task of ["mmlu", "tydiqa"] as const)
    expect(benchmarks[task].scorers["lm-eval"]).toBe(benchmarks[task].scorers["open-instruct"]);
});

test.each(NAMES)("%s: scores are within bounds, and the best reference counts", (task) => {
  const top = task === "tydiqa" ? 100 : 1;
  fc.assert(
    fc.property(
      trap,
      fc.array(trap, { minLength: 1, maxLength: 3 }),
      arbitraryRules,
      (prediction, golds, rules) => {
        const { scores } = benchmarks[task].scorers[rules](prediction, golds);
        for (const [metric, score] of Object.entries(scores)) {
          expect(score).toBeGreaterThanOrEqual(0);
          expect(score).toBeLessThanOrEqual(top);
          const each = golds.map(
            (gold) => benchmarks[task].scorers[rules](prediction, [gold]).scores[metric] ?? -1,
          );
          expect(score).toBe(Math.max(...each));
        }
      },
    ),
  );
});

test("bbh: what is said in the rules' words is found and right", () => {
  const answer = trap.filter((text) => !/[\n.]|he answer is |\0/.test(text));
  fc.assert(
    fc.property(answer, trap, arbitraryRules, (gold, rest, rules) => {
      const tail = rules === "lm-eval" ? `.\n${rest}` : `.${rest}`;
      const own = benchmarks.bbh.scorers[rules](`Step by step. So the answer is ${gold}${tail}`, [gold]);
      expect(own.extracted).toBe(
        benchmarks.bbh.scorers["open-instruct"](`the answer is ${gold}.`, []).extracted,
      );
      expect(benchmarks.bbh.scorers[rules](`the answer is ${gold}${tail}`, [own.extracted]).scores).toEqual({
        exact_match: 1,
      });
    }),
  );
});

test("gsm8k: any whole number is found and right, with or without commas between its digits", () => {
  fc.assert(
    fc.property(fc.maxSafeInteger(), fc.boolean(), arbitraryRules, (value, grouped, rules) => {
      const said = grouped ? value.toLocaleString("en-US") : String(value);
      const { scores } = benchmarks.gsm8k.scorers[rules](`First 3, then 4. The answer is ${said}.`, [
        goldNumber(`some work\n#### ${said}`),
      ]);
      expect(new Set(Object.values(scores))).toEqual(new Set([1]));
    }),
  );
});

test("mmlu: the letter alone, and in brackets or with a period, is that letter and no other", () => {
  fc.assert(
    fc.property(
      fc.constantFrom("A", "B", "C", "D"),
      fc.constantFrom("A", "B", "C", "D"),
      fc.constantFrom("", " ", "\n"),
      (letter, gold, before) => {
        for (const said of [letter, `(${letter})`, `${letter}.`, `${letter}) x`])
          expect(benchmarks.mmlu.scorers["open-instruct"](`${before}${said}`, [gold])).toEqual({
            extracted: letter,
            scores: { acc: letter === gold ? 1 : 0 },
          });
      },
    ),
  );
});

test("a long answer of nothing but possible matches does not take quadratic time", () => {
  const spent = startCpuTimer();
  for (const piece of [" ", "9", "$,", "the answer is ", "The answer is 1", "#### ", "(", "answer is "])
    for (const task of NAMES)
      for (const rules of RULES) benchmarks[task].scorers[rules](piece.repeat(100_000 / piece.length), ["x"]);
  expect(spent()).toBeLessThan(5_000);
});
