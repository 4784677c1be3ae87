import { expect, test } from "vitest";
import { leaf } from "#graph";
import { compile } from "#runtime";
import { drawTape, dropoutMask, tapeLength } from "./dropout.ts";

test("a tape holds 0 and 1 / (1 − probability), so that its mean is 1", () => {
  const tape = drawTape(100_000, { seed: 3, microBatch: 5, probability: 0.25 });
  expect(new Set(tape)).toEqual(new Set([0, Math.fround(4 / 3)]));
  expect(tape.reduce((a, b) => a + b, 0) / tape.length).toBeCloseTo(1, 2);
});

test("the seed and the micro-batch decide the tape", () => {
  const draw = (seed: number, microBatch: number) => drawTape(64, { seed, microBatch, probability: 0.5 });
  expect(draw(1, 2)).toEqual(draw(1, 2));
  expect(draw(1, 2)).not.toEqual(draw(1, 3));
  expect(draw(1, 2)).not.toEqual(draw(2, 2));
});

test("the last site's mask ends where the tape ends, and sites have different masks", async () => {
  const layout = { rows: 6, widest: 5, sites: 3 };
  const length = tapeLength(layout);
  const tape = drawTape(length, { seed: 0, microBatch: 0, probability: 0.5 });
  const mask = (index: number, width: number) =>
    dropoutMask(leaf("tape", [length]), { rows: 6, index, width });
  await using program = await compile({ first: mask(0, 5), second: mask(1, 3), last: mask(2, 5) });
  const { first, second, last } = await program.run({ tape: { shape: [length], data: tape } });
  expect(second!.shape).toEqual([6, 3]);
  expect(first!.data).toEqual(tape.slice(0, 30));
  expect(last!.data).toEqual(tape.slice(-30));
  expect(first!.data).not.toEqual(last!.data);
});

test.each([-0.1, 1, Number.NaN])("a probability of %d is refused", (probability) => {
  expect(() => drawTape(1, { seed: 0, microBatch: 0, probability })).toThrowError(
    expect.objectContaining({ code: "bad_option", message: `dropout ${probability} is not in [0, 1)` }),
  );
});
