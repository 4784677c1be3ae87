// Which columns of a table are shown, and in what order its rows stand.
import { type Signal, signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { stored } from "#core";

/** What rows are sorted by. Those that have none come last. */
type SortValue = string | number | null | undefined;

/** A column of a table. */
export interface Column<Row> {
  readonly key: string;
  readonly title: string;
  /** The cell; without it the value. */
  readonly render?: (row: Row) => ComponentChildren;
  /** What the column sorts by; without it, it does not sort. */
  readonly value?: (row: Row) => SortValue;
  readonly align?: "start" | "end";
  /** A track of a grid whose least width is in pixels, such as `minmax(160px, 2fr)`. */
  readonly width?: string;
  /** Not shown until somebody asks for it. */
  readonly isHidden?: boolean;
}

/** Makes columns of the fields of a row, which they sort by and show as `show` says. */
export const fieldColumns =
  <Row>() =>
  <K extends keyof Row & string>(
    key: K,
    title: string,
    {
      show,
      ...rest
    }: Omit<Partial<Column<Row>>, "key" | "title"> & { show?: (value: Row[K]) => ComponentChildren } = {},
  ): Column<Row> => ({
    key,
    title,
    value: (row) => row[key] as SortValue,
    ...(show === undefined ? {} : { render: (row: Row) => show(row[key]) }),
    ...rest,
  });

/** What a reader chose; it stays under the table's key. */
export interface TableChoices {
  /** The column to sort by; without one, rows stay as they come. */
  readonly sort: string | null;
  readonly isDescending: boolean;
  /** Columns that are shown, or not, against the table's own choice. */
  readonly shown: Readonly<Record<string, boolean>>;
}

const FIRST: TableChoices = { sort: null, isDescending: false, shown: {} };

const isChoices = (value: unknown): value is TableChoices =>
  typeof value === "object" && value !== null && "sort" in value && "shown" in value;

const known = new Map<string, Signal<TableChoices>>();

/** The choices of a table; without a key they last as long as the table. */
export function openChoices(key: string | undefined): Signal<TableChoices> {
  if (key === undefined) return signal(FIRST);
  const choices = known.get(key) ?? stored(`table.${key}`, FIRST, isChoices);
  known.set(key, choices);
  return choices;
}

/** Columns that are shown now. */
export const shownColumns = <Row>(
  columns: readonly Column<Row>[],
  { shown }: TableChoices,
): readonly Column<Row>[] => columns.filter(({ key, isHidden }) => shown[key] ?? isHidden !== true);

/** A column's title was pressed: up, then down, then as rows come. */
export function nextSort(choices: TableChoices, key: string): TableChoices {
  if (choices.sort !== key) return { ...choices, sort: key, isDescending: false };
  return choices.isDescending
    ? { ...choices, sort: null, isDescending: false }
    : { ...choices, isDescending: true };
}

const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

const isMissing = (value: SortValue): value is null | undefined =>
  value === null || value === undefined || Number.isNaN(value);

function compare(a: SortValue, b: SortValue, sign: number): number {
  if (isMissing(a) || isMissing(b)) return Number(isMissing(a)) - Number(isMissing(b));
  if (typeof a === "number" && typeof b === "number") return sign * (a - b);
  return sign * collator.compare(String(a), String(b));
}

/** Rows in the chosen order; equal ones stay as they come. */
export function sortRows<Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  { sort, isDescending }: TableChoices,
): readonly Row[] {
  const value = columns.find(({ key }) => key === sort)?.value;
  if (value === undefined) return rows;
  const sign = isDescending ? -1 : 1;
  return [...rows].sort((a, b) => compare(value(a), value(b), sign));
}
