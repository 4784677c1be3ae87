// What all models are asked alike: system prompt, sampling, tools, form of the answer.
import type { components } from "#api";
import { Field, IconButton, NumberInput, Select, TextArea } from "#ui";
import { change, session, settingProblems } from "./current.ts";
import { RANGES, TEXT_TOKENS } from "./settings.ts";

interface SettingsPanelProps {
  /** Sampling of requests that leave it out, by the server's names. */
  readonly defaults: components["schemas"]["Model"]["default_parameters"] | undefined;
  readonly onClose: () => void;
}

const MODES = [
  { value: "chat", title: "Chat" },
  { value: "text", title: "Completion" },
] as const;

export function SettingsPanel({ defaults, onClose }: SettingsPanelProps) {
  const settings = session.settings.value;
  const problems = settingProblems.value;
  const placeholders = {
    temperature: defaults?.temperature.toString(),
    topP: defaults?.top_p.toString(),
    maxTokens: settings.mode === "text" ? `${TEXT_TOKENS}` : (defaults?.max_tokens?.toString() ?? "no limit"),
    seed: "random",
  };
  const numeric = (name: keyof typeof RANGES, label: string, step: number | "any") => (
    <Field label={label} error={problems[name]}>
      <NumberInput
        {...RANGES[name]}
        value={settings[name]}
        step={step}
        placeholder={placeholders[name]}
        onInput={(value) => change({ [name]: value })}
      />
    </Field>
  );
  return (
    <aside class="stack compare-settings" aria-label="Settings">
      <header class="row">
        <h2>Settings</h2>
        <IconButton label="Close settings" icon="close" onClick={onClose} />
      </header>
      <Field
        label="Mode"
        hint={
          settings.mode === "text" ? "Sends the prompt as is, for models without a chat template." : undefined
        }
      >
        <Select
          value={settings.mode}
          options={MODES}
          onInput={(mode) => change({ mode: mode === "text" ? "text" : "chat" })}
        />
      </Field>
      {settings.mode === "chat" && (
        <Field label="System prompt">
          <TextArea value={settings.system} rows={4} onInput={(system) => change({ system })} />
        </Field>
      )}
      <div class="pair">
        {numeric("temperature", "Temperature", 0.1)}
        {numeric("topP", "Top p", 0.05)}
        {numeric("maxTokens", "Max tokens", 1)}
        {numeric("seed", "Seed", 1)}
      </div>
      {settings.mode === "chat" && (
        <Json
          name="tools"
          title="Tools"
          label="Tools (JSON)"
          form={'[{"name": "weather", "parameters": {…}}]'}
        />
      )}
      <Json
        name="schema"
        title="Response format"
        label="JSON schema"
        form={'{"type": "object", "properties": {…}}'}
      />
    </aside>
  );
}

interface JsonProps {
  readonly name: "tools" | "schema";
  readonly title: string;
  readonly label: string;
  readonly form: string;
}

/** Folded away: few need it. It opens where something is wrong. */
function Json({ name, title, label, form }: JsonProps) {
  const [value, problem] = [session.settings.value[name], settingProblems.value[name]];
  return (
    <details open={problem !== undefined || value !== ""}>
      <summary>{title}</summary>
      <Field label={label} error={problem}>
        <TextArea
          mono
          rows={8}
          value={value}
          placeholder={form}
          onInput={(text) => change({ [name]: text })}
        />
      </Field>
    </details>
  );
}
