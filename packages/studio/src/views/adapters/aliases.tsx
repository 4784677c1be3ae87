// The names that stand for an adapter, what else they have stood for, and the way back.
import { useState } from "preact/hooks";
import { api, type JsonOf, messageOf, usePoll } from "#api";
import { href } from "#core";
import { Button, Confirm, Field, FormDialog, IconButton, Problem, TextInput, Time, toast } from "#ui";

type Change = JsonOf<"/v1/aliases/{name}/history">["data"][number];

interface AliasProps {
  readonly model: string;
  readonly alias: string;
  /** Called after a change. */
  readonly changed: () => Promise<void>;
  readonly close: () => void;
}

type AliasesProps = Pick<AliasProps, "model" | "changed"> & { readonly aliases: readonly string[] };

/** The aliases that stand for one adapter now. */
export function Aliases({ model, aliases, changed }: AliasesProps) {
  const [isSetting, setSetting] = useState(false);
  return (
    <section class="card stack">
      <div class="row spread">
        <h2>Aliases</h2>
        <Button icon="plus" onClick={() => setSetting(true)}>
          Set alias
        </Button>
      </div>
      {aliases.length === 0 && (
        <p class="muted">
          No aliases yet. Programs that request an alias, such as <code>support</code>, get the adapter it
          points to, so you can switch adapters and roll back without changing them.
        </p>
      )}
      {aliases.map((alias) => (
        <Alias key={alias} {...{ alias, model, changed }} />
      ))}
      {isSetting && <SetAlias {...{ model, changed }} close={() => setSetting(false)} />}
    </section>
  );
}

const FIRST_SHOWN = 4;

function Alias({ alias, model, changed }: Omit<AliasProps, "close">) {
  const params = { name: alias };
  const { data, error, refresh } = usePoll(
    (signal) => api.get("/v1/aliases/{name}/history", { params, signal }),
    { every: 15_000 },
    [alias, model],
  );
  const [isWhole, setWhole] = useState(false);
  const [isRemoving, setRemoving] = useState(false);
  const changes = data.value?.data ?? [];
  const current = changes[0];
  const rollBack = async (to: Change): Promise<void> => {
    try {
      const body = { model: to.model, expected_version: current?.version };
      await api.put("/v1/aliases/{name}", { params, body });
      toast(`${alias} stands for ${to.model} again`, { kind: "good" });
      await changed();
    } catch (problem) {
      toast(messageOf(problem), { kind: "bad" });
      await refresh();
    }
  };
  return (
    <div class="stack alias">
      <div class="row spread">
        <h3 class="mono">{alias}</h3>
        <IconButton label={`Remove alias ${alias}`} icon="trash" onClick={() => setRemoving(true)} />
      </div>
      {error.value !== undefined && data.value === undefined && (
        <Problem error={error.value} retry={refresh} />
      )}
      <ol>
        {changes.slice(0, isWhole ? undefined : FIRST_SHOWN).map((change) => (
          <li key={change.version} class={change === current ? "current" : undefined}>
            <a class="cut" href={href("adapters", change.model)}>
              {change.model}
            </a>
            <span class="muted">
              <Time at={change.changed_at} />
            </span>
            {change === current ? (
              <span class="muted">now</span>
            ) : (
              change.model !== model && (
                <Button icon="undo" onClick={() => rollBack(change)}>
                  Roll back
                </Button>
              )
            )}
          </li>
        ))}
      </ol>
      {!isWhole && changes.length > FIRST_SHOWN && (
        <Button onClick={() => setWhole(true)}>Show all {changes.length} changes</Button>
      )}
      {isRemoving && <RemoveAlias {...{ alias, changed }} close={() => setRemoving(false)} />}
    </div>
  );
}

function RemoveAlias({ alias, changed, close }: Omit<AliasProps, "model">) {
  const remove = async (): Promise<void> => {
    await api.delete("/v1/aliases/{name}", { params: { name: alias } });
    close();
    await changed();
  };
  return (
    <Confirm
      title={`Remove the alias ${alias}?`}
      keep="Keep it"
      action="Remove alias"
      act={remove}
      close={close}
    >
      Requests for it will fail, and its history will be deleted. The adapter is kept.
    </Confirm>
  );
}

function SetAlias({ model, changed, close }: Omit<AliasProps, "alias">) {
  const [name, setName] = useState("");
  const submit = async (): Promise<void> => {
    await api.put("/v1/aliases/{name}", { params: { name: name.trim() }, body: { model } });
    close();
    await changed();
  };
  return (
    <FormDialog
      title="Set alias"
      action="Set alias"
      isReady={name.trim() !== ""}
      submit={submit}
      onClose={close}
      fields={(error) => (
        <Field
          label="Alias"
          error={error === undefined ? undefined : messageOf(error)}
          hint={`Requests for this name will go to ${model}. An existing alias is switched to it.`}
        >
          <TextInput value={name} onInput={setName} placeholder="support" autoFocus mono />
        </Field>
      )}
    />
  );
}
