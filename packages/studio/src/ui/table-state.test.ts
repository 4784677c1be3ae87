import fc from "fast-check";
import { expect, test } from "vitest";
import { type Column, nextSort, openChoices, shownColumns, sortRows } from "./table-state.ts";

interface Row {
  readonly name: string;
  readonly loss: number | null;
}

const columns: readonly Column<Row>[] = [
  { key: "name", title: "Name", value: ({ name }) => name },
  { key: "loss", title: "Loss", value: ({ loss }) => loss },
  { key: "note", title: "Note", isHidden: true },
];
const rows: readonly Row[] = [
  { name: "run-10", loss: 2 },
  { name: "run-9", loss: null },
  { name: "Run-1", loss: 10 },
];
const first = openChoices(undefined).value;
const names = (sorted: readonly Row[]) => sorted.map(({ name }) => name);

test("a press on a title sorts up, then down, then not at all", () => {
  const up = nextSort(first, "name");
  const down = nextSort(up, "name");
  expect(names(sortRows(rows, columns, up))).toEqual(["Run-1", "run-9", "run-10"]);
  expect(names(sortRows(rows, columns, down))).toEqual(["run-10", "run-9", "Run-1"]);
  expect(sortRows(rows, columns, nextSort(down, "name"))).toBe(rows);
});

test("rows without a value come last in both orders", () => {
  const up = nextSort(first, "loss");
  expect(names(sortRows(rows, columns, up))).toEqual(["run-10", "Run-1", "run-9"]);
  expect(names(sortRows(rows, columns, nextSort(up, "loss")))).toEqual(["Run-1", "run-10", "run-9"]);
});

test("equal rows stay as they come", () => {
  const loss = fc.option(fc.integer({ min: 0, max: 3 }));
  fc.assert(
    fc.property(fc.array(loss), (losses) => {
      const all = losses.map((value, i) => ({ name: String(i), loss: value }));
      const sorted = sortRows(all, columns, nextSort(first, "loss"));
      for (const [i, row] of sorted.entries()) {
        const next = sorted[i + 1];
        if (next === undefined || row.loss !== next.loss) continue;
        expect(Number(row.name)).toBeLessThan(Number(next.name));
      }
    }),
  );
});

test("columns are shown as the table says until somebody says otherwise", () => {
  const keys = (shown: Record<string, boolean>) =>
    shownColumns(columns, { ...first, shown }).map(({ key }) => key);
  expect(keys({})).toEqual(["name", "loss"]);
  expect(keys({ note: true, name: false })).toEqual(["loss", "note"]);
});
