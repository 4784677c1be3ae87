// A base before its weights are read: what memory plans of training and of serving are made from.
import { type WeightForm, weightBytes } from "#files";
import { type BaseForms, chooseForm } from "./base-dtype.ts";
import type { ModelConfig } from "./config.ts";
import type { ModelFiles } from "./load.ts";
import { baseForms } from "./read-weights.ts";
import { weightShapes } from "./weights.ts";

/** What is known of a base before its weights are read. */
export interface PlannedBase {
  readonly name: string;
  readonly config: ModelConfig;
  /** How each weight will be kept. */
  readonly formsOf: (forms: BaseForms) => ReadonlyMap<string, WeightForm>;
}

/** The base of an open file. */
export const baseOfFiles = (files: ModelFiles): PlannedBase => ({
  name: files.name,
  config: files.config,
  formsOf: (forms) => baseForms(files, forms),
});

/** A base without files; published models are stored in 16 bits. */
export const baseOfConfig = (
  name: string,
  config: ModelConfig,
  stored: WeightForm = { kind: "bfloat16" },
): PlannedBase => ({
  name,
  config,
  formsOf: (forms) =>
    new Map(
      [...weightShapes(config)].map(([weight, shape]) => [
        weight,
        chooseForm({ name: weight, shape, stored, where: name }, forms),
      ]),
    ),
});

/** Bytes of a base whose weights are kept so; float32 where a form is missing. */
export function baseBytes(config: ModelConfig, forms: ReadonlyMap<string, WeightForm>): number {
  const formOf = (name: string, shape: readonly number[]): WeightForm =>
    (shape.length === 1 ? undefined : forms.get(name)) ?? { kind: "float32" };
  return [...weightShapes(config)].reduce(
    (sum, [name, shape]) => sum + weightBytes(formOf(name, shape), shape),
    0,
  );
}
