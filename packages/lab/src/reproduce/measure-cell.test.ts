import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseAdapterConfig } from "mixture-of-shards";
import { afterAll, beforeAll, expect, test } from "vitest";
import { trainedPart } from "./measure-cell.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-measure-"));
  await mkdir(join(folder, "run"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const measureTrained = async (lines: readonly object[], resumedAt = 0) => {
  const text = lines.map((line) => `${JSON.stringify(line)}\n`).join("");
  await writeFile(join(folder, "run", "metrics.jsonl"), text);
  return trainedPart({ folder, adapter: parseAdapterConfig({ method: "lora" }) }, resumedAt);
};
const makeStep = (step: number, seconds: number) => ({
  type: "step",
  step,
  loss: 4 - step,
  seconds,
  tokens: 10,
});

test("updates that compiled a program count with the median time", async () => {
  const evaluation = { type: "evaluation", step: 2, loss: 9, seconds: 50 };
  const lines = [
    makeStep(1, 20),
    makeStep(2, 1),
    evaluation,
    makeStep(3, 30),
    makeStep(4, 3),
    makeStep(5, 2),
  ];
  expect(await measureTrained(lines, 2)).toEqual({
    losses: [3, 2, 1, 0, -1],
    tokens: 50,
    seconds: { training: 3 + 1 + 3 + 3 + 2, step: 3 },
  });
});

test("a line that is not a metric is an error with its line number", async () => {
  await expect(measureTrained([makeStep(1, 1), { type: "step", step: "2" }])).rejects.toMatchObject({
    code: "bad_data",
    message: expect.stringMatching(/metrics\.jsonl:2: field "step" is "2"; a number is expected/),
  });
});
