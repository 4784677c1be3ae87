// What all models are asked alike: system prompt, sampling, tools, form of the answer.
import { Field, IconButton, NumberInput, Select, TextArea } from "#ui";
import { change, session, settingProblems } from "./current.ts";
import { RANGES, type SettingProblems, type Settings, TEXT_TOKENS } from "./settings.ts";
import "./settings-panel.css";

/** Sampling of requests that leave it out, by the server's names. */
export interface Defaults {
  readonly temperature: number;
  readonly top_p: number;
  readonly max_tokens?: number | undefined;
}

interface SettingsPanelProps {
  readonly defaults: Defaults | undefined;
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
    <aside class="compare-settings" aria-label="Settings">
      <header>
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
      <Json settings={settings} problems={problems} />
    </aside>
  );
}

interface JsonProps {
  readonly settings: Settings;
  readonly problems: SettingProblems;
}

/** Folded away: few need them. They open where something is wrong. */
function Json({ settings, problems }: JsonProps) {
  return (
    <>
      {settings.mode === "chat" && (
        <details open={problems.tools !== undefined || settings.tools !== ""}>
          <summary>Tools</summary>
          <Field label="Tools (JSON)" error={problems.tools}>
            <TextArea
              mono
              rows={8}
              value={settings.tools}
              placeholder={'[{"name": "weather", "parameters": {…}}]'}
              onInput={(tools) => change({ tools })}
            />
          </Field>
        </details>
      )}
      <details open={problems.schema !== undefined || settings.schema !== ""}>
        <summary>Response format</summary>
        <Field label="JSON schema" error={problems.schema}>
          <TextArea
            mono
            rows={8}
            value={settings.schema}
            placeholder={'{"type": "object", "properties": {…}}'}
            onInput={(schema) => change({ schema })}
          />
        </Field>
      </details>
    </>
  );
}
