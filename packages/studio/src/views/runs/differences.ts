// Settings of several runs side by side.
import type { Run } from "#api";
import { formatValue, labelOf } from "#core";

/** A setting, with its value in each run. */
export interface SettingRow {
  readonly name: string;
  readonly values: readonly string[];
  /** Whether not all runs have the same. */
  readonly isDifferent: boolean;
}

/** Base, method and tenant are settings to who compares. */
const settingsOf = ({ model, method, tenant, settings }: Run): Run["settings"] => ({
  model,
  method,
  tenant,
  ...settings,
});

/** The settings that any of the runs has, in the order in which they have them. */
export function compareSettings(runs: readonly Run[]): readonly SettingRow[] {
  const all = runs.map(settingsOf);
  const names = new Set(all.flatMap((settings) => Object.keys(settings)));
  return [...names].map((name) => {
    const values = all.map((settings) =>
      formatValue(Object.hasOwn(settings, name) ? settings[name] : undefined),
    );
    return { name: labelOf(name), values, isDifferent: values.some((value) => value !== values[0]) };
  });
}

/** Names of runs that tell them apart: one that several have is followed by the end of its id. */
export function distinctNames(runs: readonly Pick<Run, "id" | "name">[]): readonly string[] {
  const counts = new Map<string, number>();
  for (const { name } of runs) counts.set(name, (counts.get(name) ?? 0) + 1);
  return runs.map(({ id, name }) => ((counts.get(name) ?? 0) > 1 ? `${name} (${id.slice(-6)})` : name));
}
