// The settings of training and of adapters as fields of a request, in snake case and with the bounds that they have there.
import type { z } from "@hono/zod-openapi";
import { type FinetuneSettingsInput, finetuneSettings } from "mixture-of-shards";
import {
  adapterOptions,
  integer,
  pick,
  type Setting,
  type SettingInput,
  snakeCase,
} from "mixture-of-shards/cli";

const { method: _, ...adapterSettings } = adapterOptions;

/** What the service decides, or takes from other fields of the request. */
const WITHHELD = ["dataColumns", "maxExamples", "validationSplit", "seed", "memoryLimit"] as const;

/** Characters of a text or an object. */
const MAX_TEXT = 10_000;

const offered: Readonly<Record<string, Setting>> = {
  ...finetuneSettings,
  // a job that is interrupted goes on from a checkpoint
  saveEvery: integer({ min: 1, help: finetuneSettings.saveEvery.help }),
};
const isWithheld = (name: string): boolean => WITHHELD.some((withheld) => withheld === name);
const runSettings: Readonly<Record<string, Setting>> = Object.fromEntries(
  Object.entries(offered).filter(([name]) => !isWithheld(name)),
);

/** The field of a setting. Targets have PEFT's name. */
const fieldName = (name: string): string => (name === "targets" ? "target_modules" : snakeCase(name));

const fieldSchema = ({ kind, check }: Setting): z.ZodType =>
  kind === "text" || kind === "object"
    ? check.refine((value) => JSON.stringify(value).length <= MAX_TEXT, "at most 10,000 characters")
    : check;

/** The schema of each field, none of which is required. */
export const settingFields: Readonly<Record<string, z.ZodType>> = Object.fromEntries(
  Object.entries({ ...runSettings, ...adapterSettings }).map(([name, setting]) => [
    fieldName(name),
    fieldSchema(setting).optional(),
  ]),
);

/** Fields that an adapter has from its start. */
export const adapterFields: readonly string[] = Object.keys(adapterSettings).map(fieldName);

/** What checked fields say of an adapter and of its run. */
export function settingsOf(fields: Readonly<Record<string, unknown>>): {
  readonly adapter: SettingInput<Readonly<Record<string, Setting>>>;
  readonly run: FinetuneSettingsInput;
} {
  const byName = (
    settings: Readonly<Record<string, Setting>>,
  ): SettingInput<Readonly<Record<string, Setting>>> =>
    pick(settings, Object.fromEntries(Object.keys(settings).map((name) => [name, fields[fieldName(name)]])));
  return { adapter: byName(adapterSettings), run: byName(runSettings) };
}
