// Settings that several methods have. Each is an option of `mos train` and `mos params`.
import { z } from "zod";
import { integer, names, number, type Settings, settingsShape } from "#core";
import { LINEAR_NAMES, type LinearName } from "#graph";

/** Linear types of those that a method can adapt, in the model's order; all of them by default. */
export function targetsSetting(known: readonly LinearName[]) {
  const setting = names(known, { default: known, defaultText: "all", help: "linear layers to adapt" });
  const inOrder = (given: readonly LinearName[]): readonly LinearName[] =>
    known.filter((name) => given.includes(name));
  return {
    ...setting,
    check: setting.check.transform(inOrder),
    schema: setting.schema.transform(inOrder),
  };
}

/** alpha of scale = alpha / r, for the methods that have one. */
export const alphaSetting = {
  alpha: number({
    above: 0,
    max: 1e6,
    default: 16,
    placeholder: "a",
    help: "scale the update by alpha / rank",
  }),
};

/** The rank of a pool that all layers share: as many pairs as e · L. */
export const poolRank = {
  rank: integer({
    min: 1,
    max: 65_536,
    default: 64,
    placeholder: "r",
    help: "number of vector pairs shared by all layers",
  }),
};

/** e: the budget, as many trainable parameters as LoRA of this rank. */
export const equivalentRankSetting = {
  equivalentRank: integer({
    min: 1,
    max: 4096,
    default: 2,
    placeholder: "e",
    help: "parameter budget, as the rank of a LoRA with as many trainable parameters",
  }),
};

const RANK = { min: 1, placeholder: "r", help: "rank of each layer's update" } as const;

/** The rank of each layer, where another default or a higher limit suits a method. */
export const rankSetting = ({ standard, max = 4096 }: { readonly standard: number; readonly max?: number }) =>
  integer({ ...RANK, max, default: standard });

/** Settings that every method has. */
export const commonSettings = {
  rank: rankSetting({ standard: 8 }),
  dropout: number({
    min: 0,
    below: 1,
    default: 0,
    what: "a probability",
    placeholder: "p",
    help: "dropout probability of the adapter's inputs in training",
  }),
  targets: targetsSetting(LINEAR_NAMES),
  seed: integer({
    min: 0,
    max: Number.MAX_SAFE_INTEGER,
    default: 0,
    help: "random seed of routing and initialisation",
  }),
};

/** The schema of a method's configuration. */
export const configSchema = <const Method extends string, S extends Settings>(method: Method, settings: S) =>
  z.strictObject({ method: z.literal(method), ...settingsShape(settings) });
