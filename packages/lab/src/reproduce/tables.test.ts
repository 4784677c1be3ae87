import { presetConfig, toLayerShapes } from "mixture-of-shards";
import { describe, expect, test } from "vitest";
import {
  buildExperiment,
  largestRank,
  nearestShards,
  type Row,
  type RowContext,
  selectRows,
} from "./tables.ts";

const makeContext = (preset: string, layers?: number): RowContext => {
  const config = presetConfig(preset);
  const shapes = toLayerShapes({ ...config, layers: layers ?? config.layers });
  return { shapes, alpha: 16, dropout: 0.1 };
};
const llama = makeContext("llama2-7b");
const rowsByKey = (context: RowContext) =>
  new Map(buildExperiment("table2", context).rows.map((row): [string, Row] => [row.key, row]));

describe("table 2 on LLaMA2-7B has the paper's ranks and numbers", () => {
  const rows = rowsByKey(llama);
  test.each([
    ["lora-2", "2", 4997120],
    ["lora-8", "8", 19988480],
    ["lora-16", "16", 39976960],
    ["lora-64", "64", 159907840],
    ["pure-sharing", "64", 4997120],
    ["random-scaling", "64", 4997120],
    ["subset-selection", "8 of 64", 4997120],
    ["vera-256", "256", 1417216],
    ["tied-lora", "280", 4989696],
    ["prolora", "4", 4997120],
    ["mos-2", "8", 4997120],
    ["mos-8", "32", 19988480],
    ["mos-8-sp", "32", 19988480],
    ["mos-8-vs", "32", 19988480],
    ["mos-8-pd", "32", 19988480],
  ])("%s", (key, rank, trainable) => {
    expect(rows.get(key)).toMatchObject({ rank, trainable, notes: [] });
  });

  test("VeRA has the largest rank that needs no more numbers than LoRA of rank 2", () => {
    const { trainable, notes } = rows.get("vera-equal")!;
    expect(trainable).toBeLessThanOrEqual(4997120);
    expect(4997120 - trainable).toBeLessThan(32 * 7); // one rank of one layer and type is one number
    expect(notes[0]).toMatch(/reviewers/);
  });

  test("all have the same alpha and dropout, except that VeRA has no alpha", () => {
    for (const { adapter } of rows.values())
      if (adapter) {
        expect(adapter.dropout).toBe(0.1);
        if (adapter.method !== "vera" && adapter.method !== "uni-lora") expect(adapter.alpha).toBe(16);
        else expect(adapter).not.toHaveProperty("alpha");
      }
  });
});

test("every row of table 2 fits every well-known model", () => {
  for (const preset of ["smollm2-135m", "llama3-8b", "llama3.2-3b", "tinyllama", "mistral-7b"])
    for (const [key, { adapter }] of rowsByKey(makeContext(preset)))
      expect(adapter, `${preset} ${key}`).not.toBeUndefined();
});

test("table 1 is the first row of table 2 and the ways to share", () => {
  const { rows, references } = buildExperiment("table1", llama);
  expect(rows.map(({ key }) => key)).toEqual([
    "base",
    "lora-2",
    "pure-sharing",
    "random-scaling",
    "subset-selection",
  ]);
  expect(references).toEqual(["subset-selection"]);
});

test("a rank that does not fit few layers is lowered, and the row says so", () => {
  const rows = rowsByKey(makeContext("smollm2-135m", 3));
  expect(rows.get("mos-2")).toMatchObject({
    rank: "4",
    notes: ["rank 4, the most that fits, instead of 8"],
  });
  expect(rows.get("subset-selection")).toMatchObject({ rank: "6 of 6" });
});

test("all rows adapt the targets that are asked for; a method that cannot has no adapter", () => {
  const context = makeContext("smollm2-135m");
  const rows = rowsByKey({ ...context, targets: ["v_proj", "k_proj"] });
  for (const [key, { adapter }] of rows)
    if (adapter !== null) expect(adapter?.targets, key).toEqual(["k_proj", "v_proj"]);
  const trained = 2 * 30 * 2 * (576 + 192);
  for (const key of ["lora-2", "mos-2", "pure-sharing"]) expect(rows.get(key)!.trainable).toBe(trained);
  const { trainable } = rows.get("tied-lora")!;
  expect(trainable).toBeLessThanOrEqual(trained);
  expect(trained - trainable).toBeLessThan(576 + 2 * 192 + 30);

  const up = rowsByKey({ ...context, targets: ["k_proj", "up_proj"] });
  expect(up.get("tied-lora")).toMatchObject({
    adapter: undefined,
    notes: ["tied-lora does not adapt up_proj"],
  });
  expect(up.get("mos-2")!.adapter).toMatchObject({ targets: ["k_proj", "up_proj"] });
});

test("figure 1 has every point of its grid; points that do not fit have no adapter", () => {
  const all = buildExperiment("figure1", makeContext("smollm2-135m")).rows;
  expect(all).toHaveLength(20);
  expect(all.every(({ adapter }) => adapter)).toBe(true);
  const { rows } = buildExperiment("figure1", makeContext("smollm2-135m"), {
    privateRanks: [3],
    shards: [5, 4],
  });
  expect(rows.map(({ key, place }) => [key, place])).toEqual([
    ["mos-p3-l5", { privateRank: 3, shards: 5 }],
    ["mos-p3-l4", { privateRank: 3, shards: 4 }],
  ]);
  expect(rows[0]!.adapter).toBeUndefined();
  expect(rows[0]!.notes[0]).toMatch(/does not split into 5 shards/);
  expect(rows[1]!.adapter).toMatchObject({ rank: 8, equivalentRank: 4, privateRank: 3, shardsPerVector: 4 });
  // with few layers the rank would have to be lower, which is another point
  const few = buildExperiment("figure1", makeContext("smollm2-135m", 3), {
    privateRanks: [0, 3],
    shards: [1],
  }).rows;
  expect(few.map(({ adapter }) => adapter === undefined)).toEqual([false, true]);
});

test("methods at the budget of LoRA r = 1 have half the parameters of those at r = 2", () => {
  const rows = new Map(
    buildExperiment("capacity", makeContext("smollm2-135m")).rows.map(({ key, trainable }) => [
      key,
      trainable,
    ]),
  );
  const [one, two] = [rows.get("lora-1")!, rows.get("lora-2")!];
  expect(2 * one).toBe(two);
  for (const [budget, keys] of [
    [one, ["mos-1", "lora-xs-1", "uni-lora-1"]],
    [two, ["mos-2", "lora-xs-2", "uni-lora-2"]],
  ] as const)
    for (const key of keys) {
      expect(rows.get(key), key).toBeLessThanOrEqual(budget);
      expect(rows.get(key), key).toBeGreaterThan(0.95 * budget);
    }
});

describe("choosing rows", () => {
  const { rows } = buildExperiment("table2", llama);
  const listKeys = (only: readonly string[]) => selectRows(rows, only).map(({ key }) => key);

  test("selects all rows by default, or by key, label, or label and rank", () => {
    expect(listKeys([])).toHaveLength(rows.length);
    expect(listKeys(["mos-2"])).toEqual(["mos-2"]);
    expect(listKeys(["LoRA"])).toEqual(["lora-2", "lora-8", "lora-16", "lora-64"]);
    expect(listKeys(["lora 16", "MoS r=32", "lora-16"])).toEqual(["lora-16", "mos-8"]);
  });

  test("keys are unique and usable as folder names", () => {
    const keys = rows.map(({ key }) => key);
    expect(new Set(keys).size).toBe(keys.length);
    for (const key of keys) expect(key).toMatch(/^[a-z0-9]+(-[a-z0-9]+)*$/);
  });

  test("refuses an unknown name", () => {
    expect(() => selectRows(rows, ["mos-3"])).toThrowError(
      expect.objectContaining({
        code: "bad_option",
        message: expect.stringMatching(/no row "mos-3"; the rows are base, lora-2, lora-8/),
      }),
    );
  });
});

test("a number of shards that does not divide every width is replaced by the nearest that does", () => {
  const shapes = { layers: 8, widths: { q_proj: { in: 30, out: 60 }, up_proj: { in: 30, out: 90 } } };
  expect(nearestShards(4, { layers: 8, widths: shapes.widths })).toBe(3); // 3 and 5 are as near
  expect(nearestShards(1, shapes)).toBe(1);
  expect(nearestShards(100, shapes)).toBe(30);
});

test("the largest rank within a limit", () => {
  for (const limit of [1, 2, 9, 10, 11, 100])
    expect(largestRank((rank) => 3 * rank + 1, { limit, most: 20 })).toBe(
      Math.max(1, Math.min(20, Math.floor((limit - 1) / 3))),
    );
});
