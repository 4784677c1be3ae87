// A prompt that several answers share: what is learnt is what is learnt where it stands before each of them.
import fc from "fast-check";
import { expect, test } from "vitest";
import { parseSettings, randomStream } from "#common";
import { type EncodedExample, joinSequences, makeBatch, sharedReach } from "#data";
import { canSharePrompts } from "#models";
import {
  averageMetrics,
  finetuneSettings,
  type GradientSource,
  gradientSource,
  OBJECTIVES,
  objectiveSettings,
} from "#training";
import { runs } from "../../../test/runs.ts";
import { largestDifference } from "./largest-difference.ts";
import { TINY_FAMILIES } from "./tiny-families.ts";
import { tinyModel } from "./tiny-model.ts";
import { tinyTrainable } from "./tiny-training.ts";

/** Answers of these lengths to a random prompt, each behind it. */
function answersTo(prompt: number, lengths: readonly number[], seed: number): readonly EncodedExample[] {
  const random = randomStream(seed, "answers");
  const draw = (length: number) => Array.from({ length }, () => random.below(48));
  const before = draw(prompt);
  return lengths.map((length, line) => {
    const ids = Int32Array.from([...before, ...draw(length)]);
    const number = () => Float32Array.from({ length }, () => -3 * random.uniform());
    return {
      ...{ line, ids, labels: ids.map((id, i) => (i < prompt ? -100 : id)), targetTokens: length },
      ...{ truncated: false, truncatedTargets: 0 },
      columns: { reference: number(), old: number(), advantage: new Float32Array(length).fill(1 - line) },
    };
  });
}

interface Layout {
  readonly rows: readonly (readonly EncodedExample[])[];
  readonly padToken: number;
}

async function compute(source: GradientSource, { rows, padToken }: Layout) {
  const length = Math.max(...rows.map((row) => row.reduce((sum, { ids }) => sum + ids.length, 0)));
  const batch = makeBatch(rows, { length, padToken });
  const logprobs = (await source.logprobs(batch)).slice();
  const { gradients, ...found } = await source.gradients(batch, undefined);
  return { ...found, logprobs, gradients: new Map([...gradients].map(([name, g]) => [name, g.slice()])) };
}

const answers = fc
  .record({
    prompt: fc.integer({ min: 2, max: 14 }),
    lengths: fc.array(fc.integer({ min: 1, max: 8 }), { minLength: 2, maxLength: 4 }),
    seed: fc.nat(999),
  })
  .map(({ prompt, lengths, seed }) => ({ prompt, sequences: answersTo(prompt, lengths, seed) }));

/** The others have a prompt of its own for each answer. */
const sharing = Object.entries(TINY_FAMILIES).filter(([, overrides = {}]) =>
  canSharePrompts(tinyModel({ overrides }).config),
);

/** What a family does with positions and with keys of other layers and tokens. */
const FAST = new Set([
  "llama",
  "gemma2",
  "gemma4",
  "granite_swa",
  "ministral3",
  "phi3 with longrope",
  "lfm3",
]);

for (const [family, overrides = {}] of sharing)
  test(`${family} learns the same of shared prompts as of repeated ones`, {
    tags: FAST.has(family) ? [] : ["thorough"],
  }, async () => {
    // larger weights make attention so sharp that rounding shows
    const model = tinyTrainable({ method: "lora", rank: 2 }, { overrides, deviation: 0.05 });
    await fc.assert(
      fc.asyncProperty(answers, answers, answers, fc.nat(3), async (a, b, c, cut) => {
        const all = [a, b, c].map(({ prompt, sequences }) => ({
          repeated: joinSequences(sequences, 0),
          shared: joinSequences(sequences, Math.max(1, prompt - 1 - cut)),
        }));
        const [first, second, third] = all.map(({ repeated }) => repeated) as [never, never, never];
        const [one, two, three] = all.map(({ shared }) => shared) as [never, never, never];
        const maxSegment = Math.max(
          ...[a, b, c].flatMap(({ sequences }) => sequences.map(({ ids }) => ids.length)),
        );
        await using plain = gradientSource(model, { maxSegment });
        await using source = gradientSource(model, { maxSegment, reach: sharedReach([one, two, three]) });
        const expected = await compute(plain, { rows: [[first, second], [third]], padToken: 0 });
        const found = await compute(source, { rows: [[one, two], [three]], padToken: 1 });
        const largest = expected.logprobs.reduce((most, x) => Math.max(most, Math.abs(x)), 1);
        expect(largestDifference(found.logprobs, expected.logprobs) / largest).toBeLessThan(1e-5);
        for (const [name, g] of found.gradients) {
          const other = expected.gradients.get(name) as Float32Array;
          const size = other.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
          expect(largestDifference(g, other), name).toBeLessThan(1e-4 * Math.max(1, size));
        }
      }),
      { numRuns: runs(4) },
    );
  });

test.each(["dpo", "orpo", "simpo", "grpo"] as const)(
  "%s has the same loss, metrics and gradients",
  async (name) => {
    const { prepare = (one) => one, create } = OBJECTIVES[name];
    const objective = create(parseSettings({ ...finetuneSettings, ...objectiveSettings }, {}));
    await using source = gradientSource(tinyTrainable(), { objective });
    const layOut = async (share: boolean) => {
      const rows = [6, 11].map((prompt) => [
        prepare(joinSequences(answersTo(prompt, [5, 8], prompt), share ? prompt - 1 : 0)),
      ]);
      return compute(source, { rows, padToken: 0 });
    };
    const [expected, found] = [await layOut(false), await layOut(true)];
    expect(largestDifference(found.logprobs, expected.logprobs)).toBeLessThan(1e-5);
    expect(Math.abs(found.loss / expected.loss - 1)).toBeLessThan(1e-5);
    for (const [metric, x] of Object.entries(averageMetrics(expected.metrics) ?? {}))
      expect(averageMetrics(found.metrics)?.[metric], metric).toBeCloseTo(x, 5);
    for (const [parameter, g] of found.gradients)
      expect(largestDifference(g, expected.gradients.get(parameter) as Float32Array), parameter).toBeLessThan(
        1e-4,
      );
  },
);
