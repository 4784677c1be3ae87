import { appendFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Measurement, readMeasurements, toMeasurement } from "./run-record.ts";

let run: string;
beforeEach(async () => {
  run = await mkdtemp(join(tmpdir(), "mos-record-"));
});
afterEach(() => rm(run, { recursive: true }));

const step = (at: number): Measurement => ({
  ...({ type: "step", step: at, loss: 2, accuracy: 0, learningRate: 0.1, gradientNorm: 4 } as const),
  ...{ tokens: 30, seconds: 2 },
});
const line = (value: unknown): string => `${JSON.stringify(value)}\n`;
const write = (text: string): Promise<void> => appendFile(join(run, "metrics.jsonl"), text);

async function read(from?: number) {
  const found: { step: number; end: number }[] = [];
  for await (const { measurement, end } of readMeasurements(run, from))
    found.push({ step: measurement.step, end });
  return found;
}

test("steps and evaluations are measurements, and everything else is none", () => {
  const evaluation = {
    type: "evaluation",
    step: 1,
    loss: 2,
    accuracy: 0,
    seconds: 1,
    metrics: { eval_a: 1 },
  };
  for (const one of [step(3), evaluation]) expect(toMeasurement(one)).toEqual(one);
  for (const other of [
    ...[null, 3, "step", [], {}, { type: "step" }, { ...evaluation, metrics: { eval_a: null } }],
    ...[{ step: -1 }, { loss: "2" }, { loss: Number.POSITIVE_INFINITY }, { type: "other" }].map((field) => ({
      ...step(3),
      ...field,
    })),
  ])
    expect(toMeasurement(other)).toBeUndefined();
});

test("measurements are read from where reading stopped, and a torn line when it is whole", async () => {
  expect(await read()).toEqual([]);
  const [first, second, third] = [step(1), step(2), step(3)].map(line) as [string, string, string];
  await write(first + second + third.slice(0, 9));
  const [, last] = await read();
  expect(last).toEqual({ step: 2, end: first.length + second.length });
  expect(await read(last!.end)).toEqual([]);
  await write(third.slice(9));
  expect(await read(last!.end)).toEqual([{ step: 3, end: first.length + second.length + third.length }]);
});

test("a line that is no measurement is an error that names it", async () => {
  await write(line(step(1)) + line({ ...step(2), loss: null }));
  await expect(read()).rejects.toMatchObject({
    code: "bad_data",
    message: expect.stringMatching(/metrics\.jsonl:2: field "loss" is null/),
  });
});
