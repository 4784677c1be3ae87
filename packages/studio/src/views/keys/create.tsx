// The dialog that makes a key, and shows it once.
import { useState } from "preact/hooks";
import { ApiProblem, api, type JsonOf } from "#api";
import { labelOf } from "#core";
import {
  Button,
  Copy,
  Dialog,
  DialogActions,
  Field,
  FormDialog,
  NumberInput,
  Problem,
  Select,
  Switch,
  TextInput,
} from "#ui";
import {
  EXPIRIES,
  emptyDraft,
  fieldName,
  type KeyDraft,
  type LimitField,
  NUMBERS,
  toKeyRequest,
} from "./draft.ts";

type NewKey = JsonOf<"/v1/keys", "post">;

interface CreateProps {
  readonly fields: readonly LimitField[];
  /** A key was made; the dialog stays, to show it. */
  readonly onMade: () => void;
  readonly onClose: () => void;
}

/** Asks what the key may do, and then shows it. */
export function CreateKey({ fields, onMade, onClose }: CreateProps) {
  const [draft, setDraft] = useState<KeyDraft>(emptyDraft);
  const [made, setMade] = useState<NewKey>();
  if (made !== undefined) return <MadeKey made={made} onClose={onClose} />;
  const set = (change: Partial<KeyDraft>): void => setDraft({ ...draft, ...change });
  const submit = async (): Promise<void> => {
    setMade(await api.post("/v1/keys", { body: toKeyRequest(draft, fields) }));
    onMade();
  };
  return (
    <FormDialog
      title="New key"
      action="Create key"
      isReady={draft.name.trim() !== ""}
      submit={submit}
      onClose={onClose}
      fields={(error) => (
        <>
          <KeyFields {...{ draft, error, set }} />
          <Limits {...{ draft, fields, set }} />
          {error !== undefined && !isOfField(error) && <Problem error={error} />}
        </>
      )}
    />
  );
}

const FIELDS: readonly (string | undefined)[] = ["name", "adapters", "expires"];

const isOfField = (error: unknown): error is ApiProblem =>
  error instanceof ApiProblem && FIELDS.includes(error.param?.split(".")[0]);

interface DraftProps {
  readonly draft: KeyDraft;
  readonly set: (change: Partial<KeyDraft>) => void;
}

function KeyFields({ draft, error, set }: DraftProps & { readonly error: unknown }) {
  const wrong = (name: string): string | undefined =>
    isOfField(error) && error.param?.split(".")[0] === name ? error.message : undefined;
  return (
    <>
      <Field
        label="Name"
        error={wrong("name")}
        hint="The tenant that owns the key. Limits and usage are counted per tenant."
      >
        <TextInput value={draft.name} onInput={(name) => set({ name })} autoFocus />
      </Field>
      <Field
        label="Adapters"
        error={wrong("adapters")}
        hint="Names or patterns such as acme-*, separated by commas. Leave empty to allow all."
      >
        <TextInput value={draft.adapters} onInput={(adapters) => set({ adapters })} mono />
      </Field>
      <Field label="Expires" error={wrong("expires")}>
        <Select value={draft.expires} options={EXPIRIES} onInput={(expires) => set({ expires })} />
      </Field>
      {draft.expires === "date" && (
        <Field label="Date" hint="Such as 2027-01-31 or 2027-01-31T12:00:00Z, in UTC.">
          <TextInput value={draft.date} onInput={(date) => set({ date })} placeholder="2027-01-31" />
        </Field>
      )}
      <Switch
        label="Administrator: can see all tenants and manage adapters and keys"
        value={draft.admin}
        onInput={(admin) => set({ admin })}
      />
    </>
  );
}

/** Limits are folded: most keys have none. */
function Limits({ draft: { numbers }, fields, set }: DraftProps & Pick<CreateProps, "fields">) {
  const control = (name: string, min?: number) => (
    <NumberInput
      value={numbers[name]}
      min={min}
      onInput={(value) => set({ numbers: { ...numbers, [name]: value } })}
      placeholder="unlimited"
    />
  );
  return (
    <details class="key-limits">
      <summary class="muted">Limits</summary>
      <div class="key-limit-fields">
        {NUMBERS.map(({ name, title }) => (
          <Field key={name} label={title}>
            {control(name, 1)}
          </Field>
        ))}
        {fields.map((field) => (
          <Field key={fieldName(field)} label={labelOf(field.name)} hint={field.help}>
            {control(fieldName(field))}
          </Field>
        ))}
      </div>
    </details>
  );
}

/** Stays until it is closed on purpose: the key cannot be shown again. */
const MadeKey = ({ made, onClose }: { readonly made: NewKey; readonly onClose: () => void }) => (
  <Dialog title={`Key for ${made.name}`}>
    <div class="stack">
      <p>Copy it now. The server stores only a hash, so it can't be shown again.</p>
      <div class="beside key-copy">
        <code>{made.token}</code>
        <Copy text={made.token} label="Copy key" />
      </div>
      <DialogActions>
        <Button kind="primary" onClick={onClose}>
          I've copied it
        </Button>
      </DialogActions>
    </div>
  </Dialog>
);
