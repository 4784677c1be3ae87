import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { listPools, PRESET_NAMES, presetConfig, toLayerShapes } from "#models";
import { some } from "../../../../test/runs.ts";
import { paperTable } from "./paper-table.ts";

interface PaperRow {
  readonly method: string;
  readonly rank?: number | string;
  readonly params_m: number | null;
  readonly params?: number;
  readonly scores: readonly number[];
}

const paper: { readonly table1: readonly PaperRow[]; readonly table2: readonly PaperRow[] } = JSON.parse(
  readFileSync(new URL("../../../../test/fixtures/paper-tables.json", import.meta.url), "utf8"),
);
const rows = paperTable(presetConfig("llama2-7b"));
const findRow = (method: string, rank: string) =>
  rows.find((row) => row.method === method && row.rank === rank)!;

test.each(
  paper.table2.flatMap(({ method, rank, params, scores }) =>
    params === undefined ? [] : [[method, String(rank), params, scores.at(-1)!] as const],
  ),
)("%s of rank %s trains %i numbers on LLaMA2-7B", (method, rank, params, average) => {
  expect(findRow(method, rank)).toMatchObject({ parameters: params, average });
});

test.each(paper.table1)(
  "$method of table 1 trains $params_m million",
  ({ method, rank, params_m, scores }) => {
    const row = findRow(method, String(rank));
    expect((row.parameters! / 1e6).toFixed(2)).toBe(params_m!.toFixed(2));
    expect(row.parameters).toBe(4_997_120);
    expect(row.average).toBe(scores.at(-1));
  },
);

test("memory is that of so many adapters, beside LoRA of the nearest average", () => {
  const row = findRow("MoS", "16/32");
  expect(row.lora).toMatchObject({ rank: 64, parameters: 159_907_840 });
  // two tables of 32 layers · 32 ranks · 4 shards for each of 7 linear types
  const tables = 2 * 7 * 32 * 32 * 4;
  const one = 4 * (19_988_480 + tables);
  expect(row.bytes?.float32).toEqual([one, 1000 * one, 10_000 * one]);
  expect(row.bytes?.int8[0]).toBe(19_988_480 + 4 * tables);
  expect(row.lora.bytes.bfloat16).toEqual([1, 1000, 10_000].map((count) => count * 2 * 159_907_840));
});

test("VeRA's projections are counted once for all adapters", () => {
  const { bytes } = findRow("VeRA", "256");
  const shared = 256 * (4 * 8192 + 3 * (4096 + 11_008));
  expect(bytes?.bfloat16).toEqual([1, 1000, 10_000].map((count) => 2 * (count * 1_417_216 + shared)));
});

/** Models whose linear layers are in all layers, and in one width. */
const even = PRESET_NAMES.filter((name) =>
  listPools(toLayerShapes(presetConfig(name))).every(
    (pool) => pool.layers.length === presetConfig(name).layers,
  ),
);

test("rows that do not fit a model of mixed layers name the few layers that share", () => {
  const mixed = PRESET_NAMES.filter((name) => !even.includes(name));
  const problems = mixed.flatMap((name) =>
    paperTable(presetConfig(name)).flatMap((row) => row.problem ?? []),
  );
  expect(problems).toContainEqual(expect.stringContaining("6 layers that have q_proj × (equivalent rank 2"));
  expect(problems).toContainEqual(expect.stringContaining("3 layers that have k_proj 1536 → 512 × (equiv"));
  for (const problem of problems) expect(problem).toMatch(/ layers that have .* use a rank of at most \d+/);
});

test.each(some(even))("every row fits %s, and MoS costs what its LoRA does", (name) => {
  const found = paperTable(presetConfig(name));
  const countParameters = (method: string, rank: string) =>
    found.find((row) => row.method === method && row.rank === rank)!.parameters;
  for (const row of found) expect(row.problem, `${row.method} ${row.rank}`).toBeUndefined();
  expect(countParameters("MoS", "4/8")).toBe(countParameters("LoRA", "2"));
  expect(countParameters("MoS", "16/32")).toBe(countParameters("LoRA", "8"));
});

test("methods that share all pairs show the rank that is counted, twice the layers", () => {
  const found = paperTable(presetConfig("llama3.2-3b"));
  for (const method of ["Pure Sharing", "+ Random Scaling", "+ Subset Selection"])
    expect(found.find((row) => row.method === method)).toMatchObject({ rank: "56", parameters: 3_039_232 });
});

test("a row that does not fit a model says why, and the others stand", () => {
  const small = { ...presetConfig("smollm2-135m"), layers: 2 };
  const problem = paperTable(small).find(({ method }) => method === "MoS")!;
  expect(problem).toMatchObject({ parameters: undefined, bytes: undefined });
  expect(problem.problem).toContain("2 layers × (equivalent rank 2 − private rank 1) share only 2");
});
