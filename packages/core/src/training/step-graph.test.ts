import { compile, leaf } from "mixture-of-shards-graph";
import { expect, test } from "vitest";
import { drawMaskBuffer, dropoutMask, maskBufferLength } from "./step-graph.ts";

test("a buffer holds 0 and 1 / (1 − probability), so that its mean is 1", () => {
  const buffer = drawMaskBuffer(100_000, { seed: 3, microBatch: 5, probability: 0.25 });
  expect(new Set(buffer)).toEqual(new Set([0, Math.fround(4 / 3)]));
  expect(buffer.reduce((a, b) => a + b, 0) / buffer.length).toBeCloseTo(1, 2);
});

test("the seed and the micro-batch decide the buffer", () => {
  const draw = (seed: number, microBatch: number) =>
    drawMaskBuffer(64, { seed, microBatch, probability: 0.5 });
  expect(draw(1, 2)).toEqual(draw(1, 2));
  expect(draw(1, 2)).not.toEqual(draw(1, 3));
  expect(draw(1, 2)).not.toEqual(draw(2, 2));
});

test("the last module's mask ends where the buffer ends, and modules have different masks", async () => {
  const layout = { rows: 6, maxWidth: 5, modules: 3 };
  const length = maskBufferLength(layout);
  const buffer = drawMaskBuffer(length, { seed: 0, microBatch: 0, probability: 0.5 });
  const mask = (index: number, width: number) =>
    dropoutMask(leaf("buffer", [length]), { rows: 6, index, width });
  await using program = await compile({ first: mask(0, 5), second: mask(1, 3), last: mask(2, 5) });
  const { first, second, last } = await program.run({ buffer: { shape: [length], data: buffer } });
  expect(second!.shape).toEqual([6, 3]);
  expect(first!.data).toEqual(buffer.slice(0, 30));
  expect(last!.data).toEqual(buffer.slice(-30));
  expect(first!.data).not.toEqual(last!.data);
});

test.each([-0.1, 1, Number.NaN])("a probability of %d is refused", (probability) => {
  expect(() => drawMaskBuffer(1, { seed: 0, microBatch: 0, probability })).toThrowError(
    expect.objectContaining({ code: "bad_option", message: `dropout ${probability} is not in [0, 1)` }),
  );
});
