// All training runs: a table to search and sort, and below it a comparison of those that are marked.

import { signal, useSignalEffect } from "@preact/signals";
import { useEffect, useMemo, useState } from "preact/hooks";
import { api, config, hasService, type Run, usePoll } from "#api";
import { countOf, href, navigate, type Query, set, type ViewProps } from "#core";
import {
  Button,
  type Command,
  Empty,
  LinkButton,
  Page,
  Problem,
  Select,
  Table,
  TableCount,
  TableSearch,
  useCommands,
  Waiting,
} from "#ui";
import { columnsFor } from "./columns.tsx";
import type { RunComparison } from "./comparison.tsx";
import { countStatuses, filterRuns, NO_FILTER } from "./run.ts";
import "./runs.css";

/** Milliseconds between looks. */
const EVERY = 4000;

/** They stay while the reader looks at something else. */
const filter = signal(NO_FILTER);
const pages = signal(1);
const marked = signal<ReadonlySet<string>>(new Set());

export default function View({ query }: ViewProps) {
  useMarksInAddress(query);
  useCommands(() => COMMANDS, []);
  const { data, error, refresh } = usePoll((stop) => readRuns(pages.value, stop), { every: EVERY });
  const list = data.value;
  return (
    <Page title="Runs" beside={hasService() && <NewRun title="New run" />}>
      {error.value !== undefined && <Problem error={error.value} retry={() => void refresh()} />}
      {list === undefined && error.value === undefined && <Waiting label="Loading runs" />}
      {list !== undefined && (list.runs.length === 0 ? <NoRuns /> : <RunTable runs={list.runs} />)}
      {list?.hasMore === true && (
        <Button
          onClick={() => {
            pages.value++;
            void refresh();
          }}
        >
          Load older runs
        </Button>
      )}
      {list !== undefined && <Marked runs={list.runs} />}
    </Page>
  );
}

const NewRun = ({ title }: { readonly title: string }) => (
  <LinkButton kind="primary" icon="plus" href={href("new-run")}>
    {title}
  </LinkButton>
);

/** The marked runs are a part of the address, so that a comparison can be sent to somebody. */
function useMarksInAddress({ compare }: Query): void {
  useEffect(() => {
    if (compare !== undefined) marked.value = new Set(compare.split(",").filter((id) => id !== ""));
  }, []);
  useSignalEffect(() => {
    const ids = [...marked.value].join(",");
    if (location.hash.startsWith("#/runs") || location.hash === "")
      navigate(href("runs", undefined, ids === "" ? {} : { compare: ids }), { replace: true });
  });
}

const clearMarks = (): void => set(marked, new Set());

const COMMANDS: readonly Command[] = [
  { id: "runs.clear", title: "Clear selection", keys: "Escape", run: clearMarks },
];

function RunTable({ runs }: { readonly runs: readonly Run[] }) {
  const shown = filterRuns(runs, filter.value);
  const hasTenants = config.value?.needsKey === true;
  const columns = useMemo(() => columnsFor(hasTenants), [hasTenants]);
  return (
    <div class={marked.value.size > 0 ? "runs-table comparing" : "runs-table"}>
      <Table
        label="Runs"
        columns={columns}
        rows={shown}
        keyOf={({ id }) => id}
        nameOf={({ name }) => name}
        selected={marked}
        onOpen={({ id }) => navigate(href("run", id))}
        storageKey="runs"
        toolbar={<Filters runs={runs} shown={shown.length} />}
        empty={
          <Empty
            title="No runs match"
            action={
              <Button onClick={() => set(filter, NO_FILTER)}>Show all {countOf(runs.length, "run")}</Button>
            }
          />
        }
      />
    </div>
  );
}

function Filters({ runs, shown }: { readonly runs: readonly Run[]; readonly shown: number }) {
  const { text, status } = filter.value;
  const statuses = countStatuses(runs).map(([value, count]) => ({ value, title: `${value} (${count})` }));
  // it stays to choose while no run has it any more
  const gone = status !== "" && statuses.every(({ value }) => value !== status);
  return (
    <>
      <TableSearch
        label="Filter runs"
        placeholder="Filter by name, base or method"
        value={text}
        onInput={(text) => set(filter, { ...filter.value, text })}
      />
      <Select
        label="Status"
        value={status}
        options={[
          { value: "", title: "Any status" },
          ...statuses,
          ...(gone ? [{ value: status, title: `${status} (0)` }] : []),
        ]}
        onInput={(status) => set(filter, { ...filter.value, status })}
      />
      <TableCount shown={shown} all={runs.length} what="run" />
    </>
  );
}

function NoRuns() {
  return (
    <div class="card">
      <Empty title="No runs yet" action={hasService() && <NewRun title="Start a run" />}>
        {hasService()
          ? "Fine-tune the model on your own examples. Runs of mos train in the server's folder of runs appear here, too."
          : "To fine-tune here, start the server with --state FOLDER. To see runs of mos train, start it with --runs FOLDER."}
      </Empty>
    </div>
  );
}

/** The comparison, whose charts are loaded when they are first needed. */
function Marked({ runs }: { readonly runs: readonly Run[] }) {
  const chosen = marked.value;
  const [Panel, setPanel] = useState<typeof RunComparison>();
  const isNeeded = chosen.size > 0;
  useEffect(() => {
    if (isNeeded) void import("./comparison.tsx").then((loaded) => setPanel(() => loaded.RunComparison));
  }, [isNeeded]);
  if (!isNeeded || Panel === undefined) return null;
  // in the order in which they were marked, so that no curve changes its colour
  const byId = new Map(runs.map((run) => [run.id, run]));
  return <Panel runs={[...chosen].flatMap((id) => byId.get(id) ?? [])} onClear={clearMarks} />;
}

/** Runs that a request returns at most. */
const PAGE = 1000;

/** The newest runs in so many pages, and whether there are older ones. */
async function readRuns(pages: number, signal: AbortSignal) {
  const runs: Run[] = [];
  let after: string | undefined;
  let hasMore = true;
  for (let page = 0; page < pages && hasMore; page++) {
    const read = await api.get("/v1/runs", { query: { limit: PAGE, after }, signal });
    runs.push(...read.data);
    hasMore = read.has_more;
    after = read.last_id ?? undefined;
  }
  return { runs, hasMore };
}
