import type { Signal } from "@preact/signals";
import { type ComponentChildren, createContext } from "preact";
import { useContext, useId } from "preact/hooks";
import { set } from "#core";
import "./field.css";
import { Icon } from "./icon.tsx";

/** What a field says of the control within it. */
interface FieldContext {
  readonly id: string;
  readonly describedBy: string | undefined;
  readonly isInvalid: boolean;
}

const FieldNames = createContext<FieldContext | undefined>(undefined);

interface FieldProps {
  readonly label: string;
  readonly hint?: ComponentChildren;
  readonly error?: string | undefined;
  readonly children: ComponentChildren;
}

/** One control with its label, and below it a hint or what is wrong. */
export function Field({ label, hint, error, children }: FieldProps) {
  const id = useId();
  const below = error ?? hint;
  const hasBelow = below !== undefined && below !== "";
  const names = {
    id,
    describedBy: hasBelow ? `${id}-below` : undefined,
    isInvalid: error !== undefined,
  };
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <FieldNames.Provider value={names}>{children}</FieldNames.Provider>
      {hasBelow && (
        <p id={`${id}-below`} class={error === undefined ? "hint" : "hint wrong"}>
          {below}
        </p>
      )}
    </div>
  );
}

/** Attributes that tie a control to the field around it; `label` names one that stands alone. */
export function useFieldNames(label?: string) {
  const field = useContext(FieldNames);
  return {
    id: field?.id,
    "aria-label": label,
    "aria-describedby": field?.describedBy,
    "aria-invalid": field?.isInvalid === true ? true : undefined,
  };
}

interface ControlProps {
  /** Its name where it stands in no field. */
  readonly label?: string;
  readonly disabled?: boolean | undefined;
}

interface TextProps extends ControlProps {
  readonly value: string;
  readonly onInput: (value: string) => void;
  readonly placeholder?: string | undefined;
}

interface TextInputProps extends TextProps {
  readonly type?: "text" | "search" | "password";
  readonly autoFocus?: boolean;
  readonly mono?: boolean;
}

/** A line of text. */
export function TextInput({ label, onInput, type = "text", autoFocus, mono, ...rest }: TextInputProps) {
  return (
    <input
      {...rest}
      {...useFieldNames(label)}
      // each type has attributes of its own there, but none of those that it is given here
      type={type as "text"}
      class={mono === true ? "control mono" : "control"}
      autocomplete="off"
      spellcheck={false}
      autofocus={autoFocus}
      onInput={(event) => onInput(event.currentTarget.value)}
    />
  );
}

interface TextAreaProps extends TextProps {
  readonly rows?: number;
  readonly mono?: boolean;
  readonly onKeyDown?: (event: KeyboardEvent) => void;
}

/** Text of several lines. */
export function TextArea({ label, onInput, mono, rows = 4, ...rest }: TextAreaProps) {
  return (
    <textarea
      {...rest}
      {...useFieldNames(label)}
      rows={rows}
      class={mono === true ? "control mono" : "control"}
      onInput={(event) => onInput(event.currentTarget.value)}
    />
  );
}

interface NumberInputProps extends ControlProps {
  /** Undefined where nothing, or no number, is written. */
  readonly value: number | undefined;
  readonly onInput: (value: number | undefined) => void;
  readonly min?: number | undefined;
  readonly max?: number;
  readonly step?: number | "any";
  readonly placeholder?: string | undefined;
}

/** A number. */
export function NumberInput({ label, value, onInput, step = "any", ...rest }: NumberInputProps) {
  return (
    <input
      {...rest}
      {...useFieldNames(label)}
      type="number"
      step={step}
      class="control"
      value={value ?? ""}
      onInput={({ currentTarget: { valueAsNumber } }) =>
        onInput(Number.isNaN(valueAsNumber) ? undefined : valueAsNumber)
      }
    />
  );
}

interface SelectProps extends ControlProps {
  readonly value: string;
  readonly onInput: (value: string) => void;
  /** A text stands for itself. */
  readonly options: readonly (string | { readonly value: string; readonly title: string })[];
}

/** One of several values. */
export function Select({ label, value, onInput, options, disabled }: SelectProps) {
  return (
    <span class="select">
      <select
        {...useFieldNames(label)}
        class="control"
        value={value}
        disabled={disabled}
        onInput={(event) => onInput(event.currentTarget.value)}
      >
        {options.map((option) => {
          const { value: own, title } =
            typeof option === "string" ? { value: option, title: option } : option;
          return (
            <option key={own} value={own} selected={own === value}>
              {title}
            </option>
          );
        })}
      </select>
      <Icon name="chevronDown" />
    </span>
  );
}

/** A switch of a signal. */
export const Toggle = ({ label, of }: { readonly label: string; readonly of: Signal<boolean> }) => (
  <Switch label={label} value={of.value} onInput={(value) => set(of, value)} />
);

interface SwitchProps {
  readonly label: string;
  readonly value: boolean;
  readonly onInput: (value: boolean) => void;
}

/** On or off, with its label beside it. */
export function Switch({ label, value, onInput }: SwitchProps) {
  return (
    <label class="switch">
      <input
        type="checkbox"
        role="switch"
        checked={value}
        aria-checked={value}
        onInput={(event) => onInput(event.currentTarget.checked)}
      />
      <span>{label}</span>
    </label>
  );
}
