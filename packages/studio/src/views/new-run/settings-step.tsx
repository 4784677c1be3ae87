import { useSignal } from "@preact/signals";
import { config } from "#api";
import { labelOf } from "#core";
import { Field, Select, TextArea, TextInput } from "#ui";
import { openFields } from "./draft.ts";
import { rangeOf, type SettingField, standardFor } from "./fields.ts";
import type { Form, Preview } from "./form.ts";
import { listMethods } from "./methods.ts";

/** What the adapter starts from, and how it is made. */
export function ModelStep({ form }: { readonly form: Form }) {
  const { model, method } = form.draft.value;
  const methods = form.fields.value.find(({ name }) => name === "adapter")?.choices ?? [];
  const isNew = model === config.value?.model;
  return (
    <section class="card stack" aria-label="Model">
      <h2>Model</h2>
      <Field
        label="Base"
        hint={isNew ? "" : "Training continues this model's adapter, keeping its method and size."}
        error={errorOf(form, "model")}
      >
        <Select
          value={model}
          options={form.models.value}
          onInput={(value) => form.change({ model: value })}
        />
      </Field>
      {isNew && (
        <fieldset class="methods">
          <legend>Method</legend>
          {listMethods(methods).map(({ name, sentence }) => (
            <label key={name} class={name === method ? "method chosen" : "method"}>
              <input
                type="radio"
                name="method"
                value={name}
                checked={name === method}
                onChange={() => form.change({ method: name })}
              />
              <span class="method-name">{name}</span>
              <span class="muted">{sentence}</span>
            </label>
          ))}
        </fieldset>
      )}
    </section>
  );
}

/** What is wrong with a field, by what was typed or by what the server said. */
function errorOf({ drafted, problem }: Form, param: string): string | undefined {
  const own = drafted.value.problems[param];
  if (own !== undefined) return own;
  const { param: wrong, message } = problem.value ?? {};
  return wrong === param ? message : undefined;
}

/** Settings that most runs are about. Steps stand in the place of epochs. */
const COMMON = [
  ...["objective", "epochs", "steps", "learning_rate"],
  ...["equivalent_rank", "rank", "max_length", "batch_size"],
];

/** What the data decided, by the names of settings. */
function chosenValue(name: string, preview: Preview | undefined): number | undefined {
  switch (name) {
    case "epochs":
      return preview?.n_epochs;
    case "steps":
      return preview?.total_steps;
    case "learning_rate":
      return preview?.learning_rate;
    case "max_length":
      return preview?.max_length;
    case "batch_size":
      return preview?.batch_size;
    default:
      return undefined;
  }
}

const roundedText = (value: number): string => String(Number(value.toPrecision(4)));

/** "auto: 12": what holds where nothing is typed. */
function placeholderOf(field: SettingField, { draft, preview, objective }: Form): string {
  if (field.name === "objective" && objective.value !== undefined) return `auto: ${objective.value}`;
  const chosen = chosenValue(field.name, preview.value);
  if (chosen !== undefined) return `auto: ${roundedText(chosen)}`;
  const standard = standardFor(field, draft.value.method);
  return standard === "" ? "none" : `auto: ${standard}`;
}

/** The settings that most runs are about, and all others folded. */
export function SettingsStep({ form }: { readonly form: Form }) {
  const { draft, fields } = form;
  const base = config.value?.model ?? "";
  const open = openFields(draft.value, { fields: fields.value, base });
  const hasBudget = open.some(({ name }) => name === "equivalent_rank");
  const isCommon = ({ name }: SettingField): boolean =>
    COMMON.includes(name) && !(name === "rank" && hasBudget);
  const common = open.filter(isCommon);
  const rest = open.filter((field) => !isCommon(field));
  const filled = rest.filter(({ name }) => (draft.value.values[name] ?? "") !== "").length;
  return (
    <section class="card stack" aria-label="Settings">
      <h2>Settings</h2>
      <div class="settings">
        <Duration form={form} fields={common} />
        {[
          "objective",
          "learning_rate",
          hasBudget ? "equivalent_rank" : "rank",
          "max_length",
          "batch_size",
        ].map((name) => {
          const field = common.find((one) => one.name === name);
          return field && <Setting key={name} form={form} field={field} />;
        })}
      </div>
      <details class="more">
        <summary>
          {rest.length} more settings{filled > 0 && <span class="tag">{filled} set</span>}
        </summary>
        <div class="settings wide">
          {rest.map((field) => (
            <Setting key={field.name} form={form} field={field} isExplained />
          ))}
        </div>
      </details>
    </section>
  );
}

/** Epochs or steps: one of them says how long the run is. */
function Duration({ form, fields }: { readonly form: Form; readonly fields: readonly SettingField[] }) {
  const unit = useSignal(form.draft.value.values["steps"] === undefined ? "epochs" : "steps");
  const field = fields.find(({ name }) => name === unit.value);
  if (field === undefined) return null;
  const other = unit.value === "epochs" ? "steps" : "epochs";
  const swap = (): void => {
    form.setValue(unit.value, "");
    unit.value = other;
  };
  return (
    <div class="duration">
      <Setting form={form} field={field} />
      <button type="button" class="text-button" onClick={swap}>
        Set {other} instead
      </button>
    </div>
  );
}

/** Names that say more than those of the API. */
const LABELS: Readonly<Record<string, string>> = {
  equivalent_rank: "Budget (equivalent LoRA rank)",
  max_length: "Maximum length",
};

interface SettingProps {
  readonly form: Form;
  readonly field: SettingField;
  /** With its help below it. */
  readonly isExplained?: boolean;
}

function Setting({ form, field, isExplained = false }: SettingProps) {
  const { name, help } = field;
  const range = rangeOf(field);
  const explained = range === "" || field.kind === "flag" ? help : `${help} (${range})`;
  const hint = isExplained ? explained.charAt(0).toUpperCase() + explained.slice(1) : "";
  return (
    <Field label={LABELS[name] ?? labelOf(name)} hint={hint} error={errorOf(form, `mos.${name}`)}>
      <Control form={form} field={field} />
    </Field>
  );
}

function Control({ form, field }: SettingProps) {
  const { name, kind, choices } = field;
  const value = form.draft.value.values[name] ?? "";
  const onInput = (text: string): void => form.setValue(name, text);
  const placeholder = placeholderOf(field, form);
  if (kind === "flag" || kind === "choice") {
    const given = kind === "flag" ? ["true", "false"] : choices;
    const options = [{ value: "", title: placeholder }, ...given.map((one) => ({ value: one, title: one }))];
    return <Select value={value} options={options} onInput={onInput} />;
  }
  if (name === "system")
    return <TextArea value={value} rows={2} placeholder={placeholder} onInput={onInput} />;
  return <TextInput value={value} placeholder={placeholder} onInput={onInput} mono={kind === "object"} />;
}
