// The adapters of the server: all of them in a table, or one: what it is, its names, its layers, and what can be done with it.
import { useSignal } from "@preact/signals";
import { useState } from "preact/hooks";
import { api, config, hasService, messageOf, usePoll } from "#api";
import { formatBytes, href, navigate, saveFile, type ViewProps } from "#core";
import {
  Button,
  Empty,
  type FactList,
  Facts,
  LinkButton,
  Page,
  Pending,
  Time,
  toast,
  useCommands,
} from "#ui";
import { Aliases } from "./aliases.tsx";
import { DeleteAdapter, mayDelete } from "./changes.tsx";
import { LayersPicture } from "./layers.tsx";
import { type Adapter, AdapterList, AdapterMemory, Digest, ranksOf, useAdapters } from "./list.tsx";
import type { Focus } from "./pool-use.ts";
import "./adapters.css";

/** All adapters, or one by its name. */
export default function View({ id }: ViewProps) {
  return id === undefined ? <AdapterList /> : <AdapterDetail name={id} />;
}

/** The page of an adapter. */
function AdapterDetail({ name }: { readonly name: string }) {
  const { data, error, refresh } = useAdapters();
  if (data.value === undefined)
    return (
      <div class="page">
        <Pending error={error.value} retry={refresh} />
      </div>
    );
  const adapter = data.value.data.find(({ id }) => id === name);
  return adapter === undefined ? <NotThere name={name} /> : <Detail adapter={adapter} changed={refresh} />;
}

const NotThere = ({ name }: { readonly name: string }) => (
  <Empty
    title={`No adapter named ${name}`}
    action={
      <LinkButton kind="primary" href={href("adapters")}>
        All adapters
      </LinkButton>
    }
  >
    It may have been deleted, or your key has no access to it.
  </Empty>
);

/** Whoever may use an adapter may not take its weights: an administrator may, its owner, and everybody without keys. */
const mayDownload = (name: string): boolean =>
  config.value?.needsKey !== true || config.value.isAdmin === true || name.startsWith("ft:");

function Detail(props: { readonly adapter: Adapter; readonly changed: () => Promise<void> }) {
  const { adapter, changed } = props;
  const { id, aliases } = adapter;
  const [isDeleting, setDeleting] = useState(false);
  const compare = href("compare", undefined, { models: `${config.value?.model ?? ""},${id}` });
  useCommands(
    () => [{ id: "adapter.compare", title: `Compare ${id} with its base`, run: () => navigate(compare) }],
    [id, compare],
  );
  const actions = (
    <>
      <LinkButton kind="primary" icon="compare" href={compare}>
        Compare
      </LinkButton>
      {mayDownload(id) && <Downloads name={id} />}
      {mayDelete(id) && (
        <Button icon="trash" onClick={() => setDeleting(true)}>
          Delete
        </Button>
      )}
    </>
  );
  return (
    <Page title={id} kind="adapter" beside={actions}>
      <Facts kind="card" facts={factsOf(adapter)} />
      {hasService() && <Aliases {...{ model: id, aliases, changed }} />}
      <AdapterLayers adapter={adapter} />
      {isDeleting && (
        <DeleteAdapter
          {...{ name: id, aliases }}
          close={() => setDeleting(false)}
          done={() => navigate(href("adapters"))}
        />
      )}
    </Page>
  );
}

/** Formats of a download. */
const FORMATS = [
  {
    format: "peft",
    title: "PEFT",
    says: "A plain LoRA for PEFT, transformers and vLLM, as a ZIP of two files",
  },
  { format: "gguf", title: "GGUF", says: "A LoRA for llama.cpp" },
  { format: "mos", title: "Original", says: "The adapter's own two files, as a ZIP" },
] as const;

type Format = (typeof FORMATS)[number]["format"];

const ATTEMPTS = 3;

/** All files of one content: an adapter may be replaced between two requests. */
async function fetchFiles(adapter: string, format: Format) {
  const path = "/v1/adapters/{name}/export";
  const params = { name: adapter };
  const { files } = await api.get(path, { params, query: { format } });
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const found = new Map<string, Uint8Array<ArrayBuffer>>();
    const digests = new Set<string | null>();
    for (const { name } of files) {
      const answer = await api.answer("GET", path, { params, query: { format, file: name } });
      digests.add(answer.headers.get("etag"));
      found.set(name, new Uint8Array(await answer.arrayBuffer()));
    }
    if (digests.size === 1) return found;
  }
  throw new Error(`${adapter} keeps changing; download it when its training has finished`);
}

/** A name that every system can write: letters and digits of any language, and . _ - */
const fileName = (adapter: string): string => adapter.replaceAll(/[^\p{L}\p{N}._-]+/gu, "-");

/** Downloads an adapter. Throws an ApiProblem. */
async function downloadAdapter(adapter: string, format: Format): Promise<void> {
  const files = await fetchFiles(adapter, format);
  const [first] = files.values();
  const name = fileName(adapter);
  if (files.size === 1 && first !== undefined) return saveFile(`${name}.gguf`, first);
  const { zipSync } = await import("fflate");
  const entries = [...files].map(([file, bytes]) => [`${name}/${file}`, bytes] as const);
  const zipped = zipSync(Object.fromEntries(entries), { level: 0 }); // weights hardly get smaller
  saveFile(`${name}${format === "peft" ? "-peft" : ""}.zip`, zipped);
}

function Downloads({ name }: { readonly name: string }) {
  const [busy, setBusy] = useState<Format>();
  const download = async (format: Format): Promise<void> => {
    setBusy(format);
    try {
      await downloadAdapter(name, format);
    } catch (problem) {
      toast(messageOf(problem), { kind: "bad" });
    } finally {
      setBusy(undefined);
    }
  };
  return (
    <fieldset class="row downloads">
      <legend class="unseen">Download</legend>
      {FORMATS.map(({ format, title, says }) => (
        <Button
          key={format}
          icon="download"
          title={says}
          busy={busy === format}
          disabled={busy !== undefined}
          onClick={() => download(format)}
        >
          {title}
        </Button>
      ))}
    </fieldset>
  );
}

const factsOf = (adapter: Adapter): FactList => {
  const { private_rank: own, targets, trained_on: trainedOn, active_bytes: active } = adapter;
  const rank = (
    <>
      {ranksOf(adapter)}
      {own !== null && own > 0 && <span class="muted">, {own} private</span>}
    </>
  );
  const memory = (
    <>
      <AdapterMemory {...adapter} />
      <span class="muted">{adapter.is_resident ? ", loaded" : ", not loaded"}</span>
    </>
  );
  const unused = (
    <span class="muted" title="Not used since the server started">
      not yet
    </span>
  );
  const origin = trainedOn?.model ?? "another quantisation of the base";
  return [
    ["Method", adapter.method],
    ["Rank", rank],
    ["Targets", targets.map((target) => target.replace(/_proj$/, "")).join(", ")],
    ["On disk", formatBytes(adapter.size_bytes)],
    ["In memory", memory],
    ["Active", active === 0 ? <span class="muted">no request now</span> : formatBytes(active)],
    ["Last use", adapter.last_used_at === null ? unused : <Time at={adapter.last_used_at} />],
    ["Changed", <Time at={adapter.created} />],
    ["Digest", <Digest digest={adapter.digest} />],
    ...(trainedOn === null ? [] : [["Trained on", origin] as const]),
  ];
};

/** Its layers, read once for each content. */
function AdapterLayers({ adapter: { id, digest } }: { readonly adapter: Adapter }) {
  const { data, error, refresh } = usePoll(
    (signal) => api.get("/v1/adapters/{name}/layers", { params: { name: id }, signal }),
    { every: 0 },
    [id, digest],
  );
  const focus = useSignal<Focus | undefined>(undefined);
  if (data.value !== undefined) return <LayersPicture layers={data.value} focus={focus} />;
  return (
    <section class="card layers-waiting">
      <Pending label="Loading layers" error={error.value} retry={refresh} />
    </section>
  );
}
