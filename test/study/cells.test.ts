// Finished cells as files of the repository, and back.
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ReproduceOptions } from "../../packages/reproduce/src/index.ts";
import { eventsOf } from "../../packages/reproduce/test/events-of.ts";
import { exportCells, importCells, thinned } from "../../scripts/study/cell-files.ts";

let folder: string;
let cells: string;
const origin = { task: "facts", commit: "abc", command: "mos reproduce table2 --out WORK/facts" };
const optionsOf = (out: string, system?: string): ReproduceOptions => ({
  experiment: "table2",
  model: "assets/tiny-english",
  train: "assets/quickstart/train.jsonl",
  evaluation: "assets/quickstart/heldout.jsonl",
  seeds: 2,
  steps: 2,
  only: ["base", "lora-2"],
  answers: 4,
  version: "1",
  training: { maxLength: 64, ...(system === undefined ? {} : { system }) },
  out: join(folder, out),
  entry: "test/study/recorded-cell.mjs",
});
const started = async (out: string) =>
  (await eventsOf(optionsOf(out))).filter(({ type }) => type === "started").length;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-study-"));
  cells = join(folder, "cells");
  expect(await started("one")).toBe(3);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("a finished cell", () => {
  test("becomes a file without times and paths, once", async () => {
    expect(await exportCells(join(folder, "one"), cells, origin)).toBe(3);
    expect(await exportCells(join(folder, "one"), cells, origin)).toBe(0);
    const path = join(cells, "facts", "lora-2", "seed-1-rate-0.001.json");
    const text = await readFile(path, "utf8");
    expect(text).not.toMatch(/seconds|peakMemory|threads|jobs/);
    expect(text).not.toContain(folder);
    expect(text).not.toContain(process.cwd());
    expect(JSON.parse(text)).toMatchObject({
      task: "facts",
      commit: "abc",
      key: "lora-2",
      purpose: "measure",
      seed: 1,
      learningRate: 0.001,
      model: "tiny-english",
      train: "train.jsonl",
      evaluation: { file: "heldout.jsonl", answers: 4 },
      adapter: { method: "lora", rank: 2, seed: 1 },
      settings: { steps: 2, maxGradientNorm: 0.3 },
      result: { heldOutLoss: 2.54, losses: [3, 2], answers: { total: 4 } },
    });
  });

  test("is the same bytes after a second run", async () => {
    await eventsOf(optionsOf("two"));
    const others = join(folder, "others");
    await exportCells(join(folder, "two"), others, origin);
    for (const key of ["base", "lora-2"])
      for (const name of await readdir(join(cells, "facts", key)))
        expect(await readFile(join(others, "facts", key, name), "utf8")).toBe(
          await readFile(join(cells, "facts", key, name), "utf8"),
        );
  });

  test("is not run again where only its file is known, and is not exported from there", async () => {
    expect(await importCells(join(folder, "three"), cells, "facts")).toBe(3);
    expect(await importCells(join(folder, "three"), cells, "facts")).toBe(0);
    expect(await started("three")).toBe(0);
    expect(await exportCells(join(folder, "three"), join(folder, "none"), origin)).toBe(0);
    const table = await readFile(join(folder, "three", "table2.md"), "utf8");
    expect(table).toMatch(/\| LoRA \| 2 \| 23,360 \| 2\.5200 ± 0\.0283 .*\| 2 of 2 \|/);
    expect(table).not.toMatch(/NaN|Infinity/);
  });

  test("of other settings is replaced", async () => {
    await cp(cells, join(folder, "changed"), { recursive: true });
    await eventsOf(optionsOf("one", "Be brief."));
    expect(await exportCells(join(folder, "one"), join(folder, "changed"), origin)).toBe(3);
  });

  test("that is broken is an error, and no result", async () => {
    const broken = join(folder, "broken");
    await cp(cells, broken, { recursive: true });
    await writeFile(join(broken, "facts", "base", "seed-0-rate-0.json"), "{}");
    await expect(importCells(join(folder, "four"), broken, "facts")).rejects.toMatchObject({
      code: "bad_data",
    });
  });
});

test("training losses become means over at most 32 stretches", () => {
  expect(thinned([])).toEqual([]);
  expect(thinned([3, 2.123456789])).toEqual([3, 2.12346]);
  const long = thinned(Array.from({ length: 1001 }, (_, i) => i));
  expect(long).toHaveLength(32);
  expect(long.slice(0, 2)).toEqual([15.5, 47.5]);
  expect(long.at(-1)).toBe(996);
});
