// The keys of the server: who has one, what it may do, new ones, and those that are over.
import { useState } from "preact/hooks";
import { api, type components, config, isSignedIn, signOut, usePoll } from "#api";
import { labelOf, storedFlag, type ViewProps } from "#core";
import {
  Button,
  type Column,
  Confirm,
  Copy,
  Empty,
  fieldColumns,
  IconButton,
  Page,
  Pending,
  Problem,
  Status,
  Table,
  Time,
  Toggle,
  toast,
  Waiting,
} from "#ui";
import { CreateKey } from "./create.tsx";
import { NUMBERS } from "./draft.ts";
import "./keys.css";

type Key = components["schemas"]["Key"];

export default function View(_: ViewProps) {
  const known = config.value;
  if (known === undefined)
    return (
      <KeysPage>
        <Waiting />
      </KeysPage>
    );
  if (known.needsKey && !known.isAdmin) return <ForAdministrators tenant={known.tenant ?? undefined} />;
  return known.features.keys ? <KeyList /> : <WithoutKeys />;
}

const KeysPage = (props: Pick<Parameters<typeof Page>[0], "beside" | "children">) => (
  <Page title="Keys" kind="keys" {...props} />
);

const FIRST_KEY = "mos keys create --name operator --admin --append keys.jsonl";

const WithoutKeys = () => (
  <KeysPage>
    <Empty title="API keys are off">
      Anyone who can reach this server can use it. Create an administrator key with{" "}
      <span class="beside key-copy">
        <code>{FIRST_KEY}</code>
        <Copy text={FIRST_KEY} label="Copy command" />
      </span>{" "}
      and start the server with <code>--api-keys keys.jsonl</code>. You can then create more keys here.
    </Empty>
  </KeysPage>
);

const ForAdministrators = ({ tenant }: { readonly tenant: string | undefined }) => (
  <KeysPage>
    <Empty
      title="Only administrators can manage keys"
      action={isSignedIn.value && <Button onClick={signOut}>Sign in with another key</Button>}
    >
      You're signed in as {tenant}. Sign in with an admin key instead (<code>mos keys create --admin</code>).
    </Empty>
  </KeysPage>
);

const showsRevoked = storedFlag("keys.revoked", false);

function KeyList() {
  const { data, error, refresh } = usePoll((signal) => api.get("/v1/keys", { signal }), { every: 15_000 });
  const [isCreating, setCreating] = useState(false);
  const [revoking, setRevoking] = useState<Key>();
  const list = data.value;
  if (list === undefined)
    return (
      <KeysPage>
        <Pending error={error.value} retry={refresh} />
      </KeysPage>
    );
  const rows = list.data.filter(({ status }) => showsRevoked.value || status !== "revoked");
  const create = (
    <Button kind="primary" icon="plus" onClick={() => setCreating(true)}>
      New key
    </Button>
  );
  return (
    <KeysPage beside={create}>
      {error.value !== undefined && <Problem error={error.value} retry={refresh} />}
      <Table
        label="Keys"
        columns={columnsFor(setRevoking)}
        rows={rows}
        keyOf={({ id }) => id}
        storageKey="keys"
        toolbar={<Toggle label="Show revoked keys" of={showsRevoked} />}
      />
      {isCreating && (
        <CreateKey
          fields={list.limit_fields}
          onMade={() => void refresh()}
          onClose={() => setCreating(false)}
        />
      )}
      {revoking && (
        <Revoke row={revoking} onDone={() => void refresh()} onClose={() => setRevoking(undefined)} />
      )}
    </KeysPage>
  );
}

/** Asks before a key ends for good. */
function Revoke(props: { readonly row: Key; readonly onDone: () => void; readonly onClose: () => void }) {
  const { row, onDone, onClose } = props;
  const { id, name, is_own: isOwn } = row;
  const revoke = async (): Promise<void> => {
    await api.delete("/v1/keys/{id}", { params: { id } });
    if (isOwn) return await signOut();
    toast(`Revoked the key ${id} of ${name}`, { kind: "good" });
    onDone();
    onClose();
  };
  return (
    <Confirm title={`Revoke the key for ${name}?`} keep="Cancel" action="Revoke" act={revoke} close={onClose}>
      The server will refuse the key <code>{id}…</code>. Requests already running will finish. This can't be
      undone.{isOwn && " You're signed in with this key and will need another one."}
    </Confirm>
  );
}

/** All limits in one line, those of add-ons behind the others. */
function limitsOf(row: Key): string {
  const own = NUMBERS.flatMap(({ name, title }) => (row[name] === null ? [] : [[title, row[name]] as const]));
  const others = Object.values(row.limits).flatMap((group) =>
    Object.entries(group).map(([name, value]) => [labelOf(name), value] as const),
  );
  return [...own, ...others]
    .map(([title, value]) => `${title.toLowerCase().replace(" (utc)", "")} ${String(value)}`)
    .join(", ");
}

const secondsOf = (time: string | null): number | null => (time === null ? null : Date.parse(time) / 1000);

const column = fieldColumns<Key>();

const columnsFor = (revoke: (row: Key) => void): readonly Column<Key>[] => [
  {
    key: "name",
    title: "Name",
    width: "minmax(208px, 2fr)",
    value: ({ name }) => name,
    render: ({ name, admin, is_own: isOwn }) => (
      <>
        {name} {admin && <span class="key-tag">admin</span>} {isOwn && <span class="key-tag">yours</span>}
      </>
    ),
  },
  { key: "id", title: "Hash", width: "128px", render: ({ id }) => <span class="mono">{id}</span> },
  column("status", "Status", { show: (status) => <Status value={status} /> }),
  {
    key: "adapters",
    title: "Adapters",
    width: "minmax(120px, 2fr)",
    value: ({ adapters }) => adapters?.join(", ") ?? "",
    render: ({ adapters }) => {
      if (adapters === null) return <span class="muted">all</span>;
      return adapters.length === 0 ? "none" : <span title={adapters.join(", ")}>{adapters.join(", ")}</span>;
    },
  },
  {
    key: "expires",
    title: "Expires",
    value: ({ expires_at: at }) => secondsOf(at) ?? Number.POSITIVE_INFINITY,
    render: ({ expires_at: at }) =>
      at === null ? <span class="muted">never</span> : <Time at={secondsOf(at)} isAhead />,
  },
  {
    key: "limits",
    title: "Limits",
    width: "minmax(160px, 3fr)",
    value: limitsOf,
    render: (row) => <span title={limitsOf(row)}>{limitsOf(row) || <span class="muted">none</span>}</span>,
  },
  {
    key: "revoke",
    title: "Revoke",
    width: "72px",
    render: (row) =>
      row.status !== "revoked" && (
        <IconButton
          label={`Revoke the key ${row.id} of ${row.name}`}
          icon="trash"
          onClick={() => revoke(row)}
        />
      ),
  },
];
