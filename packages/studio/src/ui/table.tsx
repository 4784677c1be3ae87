import type { Signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useId, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { countOf, formatCount, set, toggled } from "#core";
import { TextInput } from "./field.tsx";
import { Icon } from "./icon.tsx";
import { Menu } from "./menu.tsx";
import { useCommands } from "./palette.ts";
import "./table.css";
import {
  type Column,
  nextSort,
  openChoices,
  shownColumns,
  sortRows,
  type TableChoices,
} from "./table-state.ts";

export { type Column, fieldColumns } from "./table-state.ts";

interface TableProps<Row> {
  /** What it lists. */
  readonly label: string;
  readonly columns: readonly Column<Row>[];
  readonly rows: readonly Row[];
  readonly keyOf: (row: Row) => string;
  /** What a row is called where it is marked; without it, its key. */
  readonly nameOf?: (row: Row) => string;
  /** Keys of the rows that are marked; without it, rows cannot be marked. */
  readonly selected?: Signal<ReadonlySet<string>>;
  readonly onOpen?: (row: Row) => void;
  /** Under what name the choice of columns and their order stay in this browser. */
  readonly storageKey?: string;
  /** Instead of no rows. */
  readonly empty?: ComponentChildren;
  /** Stands above the table, beside the choice of columns: filters and actions. */
  readonly toolbar?: ComponentChildren;
}

/** The field of a toolbar by which rows are found. */
export function TableSearch(props: Parameters<typeof TextInput>[0] & { readonly label: string }) {
  const { label: title } = props;
  const place = useRef<HTMLSpanElement>(null);
  const run = (): void => place.current?.querySelector("input")?.focus();
  useCommands(() => [{ id: "table.search", title, keys: "/", run }], [title]);
  return (
    <span class="table-search" ref={place}>
      <TextInput type="search" {...props} />
    </span>
  );
}

interface TableCountProps {
  readonly shown: number;
  readonly all: number;
  /** What a row is. */
  readonly what: string;
}

/** How many rows there are, and how many of them are shown. */
export const TableCount = ({ shown, all, what }: TableCountProps) => (
  <span class="muted" role="status">
    {shown === all ? countOf(all, what) : `${formatCount(shown)} of ${countOf(all, what)}`}
  </span>
);

/** Rows of which only those in view are in the document, so that thousands of them scroll smoothly. */
export function Table<Row>(props: TableProps<Row>) {
  const { columns, rows, storageKey, toolbar, empty } = props;
  const choices = useMemo(() => openChoices(storageKey), [storageKey]);
  const shown = shownColumns(columns, choices.value);
  const sorted = sortRows(rows, columns, choices.value);
  return (
    <div class="card table">
      {(toolbar !== undefined || storageKey !== undefined) && (
        <div class="beside table-tools">
          <div class="row table-toolbar">{toolbar}</div>
          {storageKey !== undefined && <ColumnMenu columns={columns} choices={choices} />}
        </div>
      )}
      {rows.length === 0 && empty !== undefined ? (
        empty
      ) : (
        <Grid {...props} columns={shown} rows={sorted} choices={choices} />
      )}
    </div>
  );
}

function ColumnMenu<Row>({ columns, choices }: Pick<GridProps<Row>, "columns" | "choices">) {
  const shown = new Set(shownColumns(columns, choices.value));
  return (
    <Menu
      label="Columns"
      icon="columns"
      items={columns.map((column) => ({
        title: column.title,
        checked: shown.has(column),
        // a table without columns would have no way back
        disabled: shown.has(column) && shown.size === 1,
        run: () => {
          const { shown: before } = choices.value;
          choices.value = { ...choices.value, shown: { ...before, [column.key]: !shown.has(column) } };
        },
      }))}
    />
  );
}

type GridProps<Row> = TableProps<Row> & { readonly choices: Signal<TableChoices> };

/** Rows beyond the edges, so that a turn of the wheel shows no gap. */
const OVERSCAN = 8;
const MARK_WIDTH = "32px";
const STANDARD_WIDTH = "minmax(88px, 1fr)";

/** Which rows are in view, as the reader scrolls. */
function useRowsInView(count: number) {
  const scroller = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ first: 0, end: 40, height: 36 });
  const look = (): void => {
    const place = scroller.current;
    if (place === null) return;
    const height = Number.parseFloat(getComputedStyle(place).getPropertyValue("--row")) || 36;
    const first = Math.floor(place.scrollTop / height / OVERSCAN) * OVERSCAN;
    const end = first + Math.ceil(place.clientHeight / height) + 2 * OVERSCAN;
    setView((now) =>
      now.first === first && now.end === end && now.height === height ? now : { first, end, height },
    );
  };
  useLayoutEffect(() => {
    look();
    const observer = new ResizeObserver(look);
    if (scroller.current !== null) observer.observe(scroller.current);
    return () => observer.disconnect();
  }, []);
  const first = Math.max(0, Math.min(view.first, count) - OVERSCAN);
  return { scroller, look, first, end: Math.min(count, view.end), height: view.height };
}

function Grid<Row>(props: GridProps<Row>) {
  const { label, columns, rows, keyOf, selected, onOpen } = props;
  const id = useId();
  const { scroller, look, first, end, height } = useRowsInView(rows.length);
  const [active, setActive] = useState(0);
  const at = Math.min(active, rows.length - 1);
  const goTo = (to: number): void => {
    const next = Math.max(0, Math.min(rows.length - 1, to));
    setActive(next);
    const place = scroller.current;
    if (place === null) return;
    const [top, room] = [next * height, place.clientHeight - height];
    place.scrollTop = Math.max(top - room + height, Math.min(place.scrollTop, top));
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.target !== event.currentTarget) return;
    const page = Math.max(1, Math.floor((scroller.current?.clientHeight ?? 0) / height) - 2);
    const moves: Record<string, number> = { ArrowUp: -1, ArrowDown: 1, PageUp: -page, PageDown: page };
    const row = rows[at];
    const move = { Home: -rows.length, End: rows.length }[event.key] ?? moves[event.key];
    if (move !== undefined) goTo(at + move);
    else if (event.key === "Enter" && row !== undefined && onOpen) onOpen(row);
    else if (event.key === " " && row !== undefined && selected)
      selected.value = toggled(selected.value, keyOf(row));
    else return;
    event.preventDefault();
  };
  const widths = columns.map(({ width }) => width ?? STANDARD_WIDTH);
  return (
    <div
      ref={scroller}
      class="grid"
      role="grid"
      tabIndex={0}
      aria-label={label}
      aria-rowcount={rows.length + 1}
      aria-multiselectable={selected !== undefined}
      aria-activedescendant={at >= first && at < end ? `${id}-${at}` : undefined}
      style={{ "--columns": [...(selected ? [MARK_WIDTH] : []), ...widths].join(" ") }}
      onScroll={look}
      onKeyDown={onKeyDown}
    >
      <div class="tracks" role="presentation">
        <Head {...props} />
        <div role="rowgroup">
          <div class="gap" role="presentation" style={{ height: `${first * height}px` }} />
          {rows.slice(first, end).map((row, index) => (
            <Line
              key={keyOf(row)}
              {...props}
              row={row}
              id={`${id}-${first + index}`}
              index={first + index}
              isActive={first + index === at}
              activate={setActive}
            />
          ))}
          <div class="gap" role="presentation" style={{ height: `${(rows.length - end) * height}px` }} />
        </div>
      </div>
    </div>
  );
}

function Head<Row>({ columns, rows, keyOf, selected, choices }: GridProps<Row>) {
  const { sort, isDescending } = choices.value;
  const keys = rows.map(keyOf);
  const marked = selected ? keys.filter((key) => selected.value.has(key)).length : 0;
  return (
    <div role="rowgroup">
      <div class="line head" role="row" aria-rowindex={1}>
        {selected && (
          <span class="mark" role="columnheader">
            <input
              type="checkbox"
              aria-label="Select all"
              checked={marked > 0 && marked === keys.length}
              indeterminate={marked > 0 && marked < keys.length}
              onInput={() => set(selected, new Set(marked === keys.length ? [] : keys))}
            />
          </span>
        )}
        {columns.map(({ key, title, value, align }) => (
          <span
            key={key}
            role="columnheader"
            class={align === "end" ? "cut end" : "cut"}
            aria-sort={sort === key ? (isDescending ? "descending" : "ascending") : undefined}
          >
            {value === undefined ? (
              title
            ) : (
              <button type="button" onClick={() => set(choices, nextSort(choices.value, key))}>
                {title}
                {sort === key && <Icon name={isDescending ? "arrowDown" : "arrowUp"} />}
              </button>
            )}
          </span>
        ))}
      </div>
    </div>
  );
}

interface LineProps<Row>
  extends Pick<TableProps<Row>, "columns" | "keyOf" | "nameOf" | "selected" | "onOpen"> {
  readonly row: Row;
  readonly id: string;
  readonly index: number;
  readonly isActive: boolean;
  readonly activate: (index: number) => void;
}

/** Whether a press within a row is for something else than the row. */
const isOther = (target: EventTarget | null): boolean =>
  target instanceof Element && target.closest("a, button, input, select, label") !== null;

function Line<Row>(props: LineProps<Row>) {
  const { row, keyOf, nameOf = keyOf, id, index, isActive, columns, selected, onOpen, activate } = props;
  const rowKey = keyOf(row);
  const isSelected = selected?.value.has(rowKey);
  return (
    // the grid has the focus, and its keys
    // biome-ignore lint/a11y/useKeyWithClickEvents: see above
    <div
      class={`line${isActive ? " active" : ""}${onOpen ? " opens" : ""}`}
      role="row"
      id={id}
      aria-rowindex={index + 2}
      aria-selected={isSelected}
      onClick={(event) => {
        activate(index);
        if (!isOther(event.target) && getSelection()?.isCollapsed !== false) onOpen?.(row);
      }}
    >
      {selected && (
        <span class="mark" role="gridcell">
          <input
            type="checkbox"
            aria-label={`Select ${nameOf(row)}`}
            checked={isSelected ?? false}
            onInput={() => set(selected, toggled(selected.value, rowKey))}
          />
        </span>
      )}
      {columns.map(({ key, render, value, align }) => (
        <span key={key} role="gridcell" class={align === "end" ? "cut end" : "cut"}>
          {render ? render(row) : (value?.(row) ?? "–")}
        </span>
      ))}
    </div>
  );
}
