import { useSignal } from "@preact/signals";
import { config } from "#api";
import { labelOf } from "#core";
import { Field, Select, TextArea, TextInput } from "#ui";
import { openFields } from "./draft.ts";
import { rangeOf, type SettingField } from "./fields.ts";
import type { Form } from "./form.ts";

/** What the adapter starts from, and how it is made. */
export function ModelStep({ form }: { readonly form: Form }) {
  const { model, method } = form.draft.value;
  const field = form.fields.value.find(({ name }) => name === "adapter");
  const isUsual = (name: string): number => Number(name === field?.standard);
  const methods = Object.entries(field?.methods ?? {}).sort(([a], [b]) => isUsual(b) - isUsual(a));
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
          <legend class="muted small">Method</legend>
          {methods.map(([name, { help }]) => (
            <label key={name} class={name === method ? "method chosen" : "method"}>
              <input
                type="radio"
                name="method"
                value={name}
                checked={name === method}
                onChange={() => form.change({ method: name })}
              />
              <span class="method-name">{name}</span>
              <span class="muted">{help}</span>
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

/** Settings that most runs are about, beside their duration. */
const COMMON = ["objective", "learning_rate", "equivalent_rank", "rank", "max_length", "batch_size"];
const DURATION = ["epochs", "steps"];

const roundedText = (value: number): string => String(Number(value.toPrecision(4)));

/** "auto: 12": what holds where nothing is typed. */
function placeholderOf(field: SettingField, { preview, objective }: Form): string {
  if (field.name === "objective" && objective.value !== undefined) return `auto: ${objective.value}`;
  const { chosen, total_steps } = preview.value ?? {};
  const decided = field.name === "steps" ? total_steps : chosen?.[field.name];
  if (decided !== undefined) return `auto: ${roundedText(decided)}`;
  return field.standard === "" ? "none" : `auto: ${field.standard}`;
}

/** The settings that most runs are about, and all others folded. */
export function SettingsStep({ form }: { readonly form: Form }) {
  const { draft, fields } = form;
  const base = config.value?.model ?? "";
  const open = openFields(draft.value, { fields: fields.value, base });
  const hasBudget = open.some(({ name }) => name === "equivalent_rank");
  const common = COMMON.filter((name) => !(name === "rank" && hasBudget)).flatMap(
    (name) => open.find((field) => field.name === name) ?? [],
  );
  const duration = open.filter(({ name }) => DURATION.includes(name));
  const rest = open.filter((field) => !common.includes(field) && !duration.includes(field));
  const filled = rest.filter(({ name }) => (draft.value.values[name] ?? "") !== "").length;
  return (
    <section class="card stack" aria-label="Settings">
      <h2>Settings</h2>
      <div class="settings">
        <Duration form={form} fields={duration} />
        {common.map((field) => (
          <Setting key={field.name} form={form} field={field} />
        ))}
      </div>
      <details class="more">
        <summary class="beside">
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
    <div class="stack duration">
      <Setting form={form} field={field} />
      <button type="button" class="text-button small" onClick={swap}>
        Set {other} instead
      </button>
    </div>
  );
}

interface SettingProps {
  readonly form: Form;
  readonly field: SettingField;
  /** With its help below it. */
  readonly isExplained?: boolean;
}

function Setting({ form, field, isExplained = false }: SettingProps) {
  const { name, help, label } = field;
  const range = rangeOf(field);
  const explained = range === "" || field.kind === "flag" ? help : `${help} (${range})`;
  const hint = isExplained ? explained.charAt(0).toUpperCase() + explained.slice(1) : "";
  return (
    <Field label={label ?? labelOf(name)} hint={hint} error={errorOf(form, `mos.${name}`)}>
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
