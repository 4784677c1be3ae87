import { signal } from "@preact/signals";
import { useState } from "preact/hooks";
import { api, config, hasService, type JsonOf, usePoll } from "#api";
import { countOf, formatBytes, hasWords, href, navigate, set } from "#core";
import {
  Button,
  type Column,
  Copy,
  Empty,
  fieldColumns,
  LinkButton,
  Page,
  Problem,
  Table,
  TableCount,
  TableSearch,
  Time,
  Waiting,
} from "#ui";
import { mayUpload, UploadAdapter } from "./changes.tsx";

type List = JsonOf<"/v1/adapters">;
/** An adapter, as the API lists it. */
export type Adapter = List["data"][number];

/** Reads the adapters every few seconds. */
export const useAdapters = () => usePoll((signal) => api.get("/v1/adapters", { signal }), { every: 5000 });

/** What is searched for; it stays while the reader looks at something else. */
const search = signal("");

/** "8", or "8 (cost of 2)" where it is made of what a LoRA of rank 2 has. */
export const ranksOf = ({ rank, equivalent_rank: budget }: Adapter): string =>
  budget === null || budget === rank ? String(rank) : `${rank} (cost of ${budget})`;

/** Its memory, and whether it is taken now. */
export const AdapterMemory = ({ is_resident: isLoaded, resident_bytes: bytes }: Adapter) => (
  <span
    class={isLoaded ? "memory loaded" : "memory"}
    title={
      isLoaded ? "Loaded: it takes this memory now" : "Not loaded: it takes this memory once it is asked for"
    }
  >
    {formatBytes(bytes)}
  </span>
);

/** A digest in the length by which people tell two apart. */
export const Digest = ({ digest }: Pick<Adapter, "digest">) => (
  <span class="beside digest">
    <code title={digest}>{digest.replace(/^sha256:/, "").slice(0, 10)}</code>
    <Copy text={digest} label="Copy digest" />
  </span>
);

const column = fieldColumns<Adapter>();

const COLUMNS: readonly Column<Adapter>[] = [
  column("id", "Name", {
    width: "minmax(160px, 4fr)",
    show: (id) => (
      <a class="cut-front" href={href("adapters", id)} title={id}>
        <bdi>{id}</bdi>
      </a>
    ),
  }),
  column("method", "Method"),
  column("rank", "Rank", { width: "minmax(116px, 1fr)", align: "end", render: ranksOf }),
  column("resident_bytes", "Memory", {
    width: "minmax(128px, 1fr)",
    align: "end",
    render: (adapter) => <AdapterMemory {...adapter} />,
  }),
  column("active_bytes", "Active", {
    align: "end",
    show: (bytes) => (bytes === 0 ? <span class="muted">–</span> : formatBytes(bytes)),
  }),
  {
    key: "used",
    title: "Last use",
    value: ({ last_used_at: at }) => at ?? 0,
    render: ({ last_used_at: at }) => <Time at={at} />,
  },
  {
    key: "aliases",
    title: "Aliases",
    value: ({ aliases }) => aliases.join(", "),
    render: ({ aliases }) => (aliases.length === 0 ? <span class="muted">–</span> : aliases.join(", ")),
  },
  {
    key: "digest",
    title: "Digest",
    width: "minmax(132px, 1fr)",
    render: ({ digest }) => <Digest digest={digest} />,
  },
];

function AdapterTable({ adapters }: { readonly adapters: readonly Adapter[] }) {
  const shown = adapters.filter(({ id, method, aliases }) =>
    hasWords(search.value, [id, method, ...aliases]),
  );
  return (
    <Table
      label="Adapters"
      storageKey="adapters"
      columns={COLUMNS}
      rows={shown}
      keyOf={({ id }) => id}
      onOpen={({ id }) => navigate(href("adapters", id))}
      toolbar={
        <>
          <TableSearch
            label="Filter adapters"
            placeholder="Filter by name, method or alias"
            value={search.value}
            onInput={(text) => set(search, text)}
          />
          <TableCount shown={shown.length} all={adapters.length} what="adapter" />
        </>
      }
      empty={
        <Empty
          title="No adapters match"
          action={
            <Button onClick={() => set(search, "")}>Show all {countOf(adapters.length, "adapter")}</Button>
          }
        />
      }
    />
  );
}

/** All adapters that the reader may use. */
export function AdapterList() {
  const { data, error, refresh } = useAdapters();
  const [isUploading, setUploading] = useState(false);
  const upload = mayUpload() && (
    <Button icon="upload" onClick={() => setUploading(true)}>
      Upload
    </Button>
  );
  const list = data.value;
  return (
    <Page title="Adapters" beside={upload}>
      {error.value !== undefined && <Problem error={error.value} retry={refresh} />}
      {list === undefined ? (
        error.value === undefined && <Waiting />
      ) : list.data.length === 0 ? (
        <div class="card">
          <NoAdapters />
        </div>
      ) : (
        <AdapterTable adapters={list.data} />
      )}
      {list?.unavailable !== undefined && list.unavailable.length > 0 && (
        <Unavailable folders={list.unavailable} />
      )}
      {isUploading && (
        <UploadAdapter
          close={() => setUploading(false)}
          done={(name) => {
            setUploading(false);
            navigate(href("adapters", name));
          }}
        />
      )}
    </Page>
  );
}

function NoAdapters() {
  return (
    <Empty
      title="No adapters yet"
      action={
        hasService() && (
          <LinkButton kind="primary" icon="plus" href={href("new-run")}>
            New run
          </LinkButton>
        )
      }
    >
      {hasService()
        ? "Fine-tuning turns your data into an adapter. Start a run, and its adapter will appear here."
        : config.value?.features.adapters === true
          ? "Train one into the server's adapter folder with mos train, and it will appear here within seconds."
          : "This server has no adapter folder. Start it with --adapters FOLDER."}
    </Empty>
  );
}

/** Folders that the server found and cannot use. */
function Unavailable({ folders }: { readonly folders: NonNullable<List["unavailable"]> }) {
  return (
    <section class="card stack">
      <h2>Folders that can't be used</h2>
      <dl class="reasons">
        {folders.map(({ id, reason }) => (
          <div key={id}>
            <dt class="mono">{id}</dt>
            <dd class="muted">{reason}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}
