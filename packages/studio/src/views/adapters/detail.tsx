// One adapter: what it is, its names, its layers, and what can be done with it.
import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { api, config, hasService, messageOf, usePoll } from "#api";
import { formatBytes, href, navigate } from "#core";
import { Button, Copy, Empty, LinkButton, Pending, Time, toast, useCommands } from "#ui";
import { Aliases } from "./aliases.tsx";
import { DeleteAdapter, mayDelete } from "./changes.tsx";
import { downloadAdapter, FORMATS, type Format } from "./download.ts";
import { LayersPicture } from "./layers.tsx";
import { type Adapter, memoryTitle, ranksOf, shortDigest, useAdapters } from "./list.tsx";
import type { Focus } from "./pool-use.ts";

/** The page of an adapter. */
export function AdapterDetail({ name }: { readonly name: string }) {
  const { data, error, refresh } = useAdapters();
  if (data.value === undefined)
    return (
      <div class="page">
        <Pending error={error.value} retry={refresh} />
      </div>
    );
  const adapter = data.value.data.find(({ id }) => id === name);
  return adapter === undefined ? <NotThere name={name} /> : <Page adapter={adapter} changed={refresh} />;
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

interface PageProps {
  readonly adapter: Adapter;
  readonly changed: () => Promise<void>;
}

/** Whoever may use an adapter may not take its weights: an administrator may, its owner, and everybody without keys. */
const mayDownload = (name: string): boolean =>
  config.value?.needsKey !== true || config.value.isAdmin === true || name.startsWith("ft:");

function Page({ adapter, changed }: PageProps) {
  const { id, aliases } = adapter;
  const [isDeleting, setDeleting] = useState(false);
  const compare = href("compare", undefined, { models: `${config.value?.model ?? ""},${id}` });
  useCommands(
    () => [{ id: "adapter.compare", title: `Compare ${id} with its base`, run: () => navigate(compare) }],
    [id, compare],
  );
  return (
    <div class="page adapter">
      <div class="page-head">
        <h1>{id}</h1>
        <LinkButton kind="primary" icon="compare" href={compare}>
          Compare
        </LinkButton>
        {mayDownload(id) && <Downloads name={id} />}
        {mayDelete(id) && (
          <Button icon="trash" onClick={() => setDeleting(true)}>
            Delete
          </Button>
        )}
      </div>
      <Facts adapter={adapter} />
      {hasService() && <Aliases {...{ model: id, aliases, changed }} />}
      <AdapterLayers adapter={adapter} />
      {isDeleting && (
        <DeleteAdapter
          {...{ name: id, aliases }}
          close={() => setDeleting(false)}
          done={() => navigate(href("adapters"))}
        />
      )}
    </div>
  );
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
    <fieldset class="downloads">
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

function Facts({ adapter }: { readonly adapter: Adapter }) {
  const { method, private_rank: own, targets, trained_on: trainedOn } = adapter;
  return (
    <dl class="card facts">
      <Fact name="Method">{method}</Fact>
      <Fact name="Rank">
        {ranksOf(adapter)}
        {own !== null && own > 0 && <span class="muted">, {own} private</span>}
      </Fact>
      <Fact name="Targets">{targets.map((target) => target.replace(/_proj$/, "")).join(", ")}</Fact>
      <Fact name="On disk">{formatBytes(adapter.size_bytes)}</Fact>
      <Fact name="In memory">
        <span class={adapter.is_resident ? "memory loaded" : "memory"} title={memoryTitle(adapter)}>
          {formatBytes(adapter.resident_bytes)}
        </span>
        <span class="muted">{adapter.is_resident ? ", loaded" : ", not loaded"}</span>
      </Fact>
      <Fact name="Active">
        {adapter.active_bytes === 0 ? (
          <span class="muted">no request now</span>
        ) : (
          formatBytes(adapter.active_bytes)
        )}
      </Fact>
      <Fact name="Last use">
        {adapter.last_used_at === null ? (
          <span class="muted" title="Not used since the server started">
            not yet
          </span>
        ) : (
          <Time at={adapter.last_used_at} />
        )}
      </Fact>
      <Fact name="Changed">
        <Time at={adapter.created} />
      </Fact>
      <Fact name="Digest">
        <span class="digest">
          <code title={adapter.digest}>{shortDigest(adapter.digest)}</code>
          <Copy text={adapter.digest} label="Copy digest" />
        </span>
      </Fact>
      {trainedOn !== null && (
        <Fact name="Trained on">{trainedOn.model ?? "another quantisation of the base"}</Fact>
      )}
    </dl>
  );
}

function Fact({ name, children }: { readonly name: string; readonly children: ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

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
