// Dialogs that change which adapters there are: upload one, delete one.
import { useState } from "preact/hooks";
import { api, config } from "#api";
import { Confirm, Field, FormDialog, Problem, TextInput, toast, useFieldNames } from "#ui";

/** Prefix of fine-tuned models, which belong to their tenant and are deleted as models. */
const isFineTuned = (name: string): boolean => name.startsWith("ft:");

/** Adapters of the folder are changed with an administrator's key only. */
export const mayUpload = (): boolean =>
  config.value?.needsKey === true && config.value.isAdmin === true && config.value.features.adapters;

/** Whether this reader may delete an adapter. */
export const mayDelete = (name: string): boolean => isFineTuned(name) || mayUpload();

interface DeleteProps {
  readonly name: string;
  readonly aliases: readonly string[];
  readonly close: () => void;
  readonly done: () => void;
}

/** Asks before an adapter is deleted. */
export function DeleteAdapter({ name, aliases, close, done }: DeleteProps) {
  const remove = async (): Promise<void> => {
    if (isFineTuned(name)) await api.delete("/v1/models/{model}", { params: { model: name } });
    else await api.delete("/v1/adapters/{name}", { params: { name } });
    toast(`Deleted ${name}`, { kind: "good" });
    done();
  };
  return (
    <Confirm title={`Delete ${name}?`} keep="Keep it" action="Delete adapter" act={remove} close={close}>
      This removes its files and all earlier versions from the server. Download it first if you might want it
      back.{aliases.length > 0 && ` Requests for its alias ${aliases.join(" or ")} will fail.`}
    </Confirm>
  );
}

const CONFIG = "adapter_config.json";
const TENSORS = "adapter_model.safetensors";

/** Takes the two files of an adapter's folder, or of a LoRA that PEFT saved. */
export function UploadAdapter(props: { readonly close: () => void; readonly done: (name: string) => void }) {
  const { close, done } = props;
  const [name, setName] = useState("");
  const [files, setFiles] = useState<readonly File[]>([]);
  const [settings, tensors] = [CONFIG, TENSORS].map((wanted) => files.find((file) => file.name === wanted));
  const missing = [settings ? [] : [CONFIG], tensors ? [] : [TENSORS]].flat();
  const submit = async (): Promise<void> => {
    if (settings === undefined || tensors === undefined) return;
    const form = new FormData();
    form.set("name", name.trim());
    form.set("adapter_config", settings);
    form.set("adapter_model", tensors);
    await api.post("/v1/adapters", { body: form });
    toast(`${name.trim()} is ready to use`, { kind: "good" });
    done(name.trim());
  };
  return (
    <FormDialog
      title="Upload adapter"
      action="Upload"
      isReady={name.trim() !== "" && missing.length === 0}
      submit={submit}
      onClose={close}
      fields={(error) => (
        <>
          <Field
            label="Name"
            hint="The model name to use in requests. Replaces any adapter with the same name."
          >
            <TextInput value={name} onInput={setName} placeholder="acme" autoFocus mono />
          </Field>
          <Field
            label="Files"
            hint={`${CONFIG} and ${TENSORS} of a MoS adapter or a PEFT LoRA`}
            error={
              files.length > 0 && missing.length > 0
                ? `${missing.join(" and ")} ${missing.length > 1 ? "are" : "is"} missing`
                : undefined
            }
          >
            <FileInput onInput={setFiles} />
          </Field>
          {error !== undefined && <Problem error={error} />}
        </>
      )}
    />
  );
}

function FileInput({ onInput }: { readonly onInput: (files: readonly File[]) => void }) {
  return (
    <input
      {...useFieldNames()}
      type="file"
      multiple
      accept=".json,.safetensors"
      onInput={(event) => onInput([...(event.currentTarget.files ?? [])])}
    />
  );
}
