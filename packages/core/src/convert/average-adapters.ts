// The weighted mean of adapters, from which the next of several federated rounds starts. What a layer adds is B A, and the mean
// of the products is that of the factors plus Σ w (B − B̄)(A − Ā): little where all started from one adapter and went a short way,
// and nothing that a mean means otherwise. So all must agree in what is not trained, and the mean of tensors be that of factors.
import { z } from "zod";
import {
  ADAPTER_CONFIG,
  ADAPTER_TENSORS,
  type Adapter,
  type AdapterBase,
  type AdapterConfig,
  bindMethod,
  methods,
  openAdapterFolder,
  type SavedFields,
  saveAdapter,
  savedBase,
} from "#adapters";
import { checkCall, kinds, MosError, parseSettings, pick, setting, show } from "#common";
import { type ModelConfig, toLayerShapes } from "#models";
import { join } from "#platform";
import { checkFolderTarget } from "./export-import.ts";

/** Settings of a mean. */
export const averageSettings = {
  weights: setting(z.array(z.number().gt(0)).min(1).readonly().describe("a list of numbers above 0"), {
    defaultText: "all the same",
    help: "average: weight of each adapter, such as its number of examples",
  }),
};

/** Options of a mean. @inline */
export interface AverageOptions {
  /** Folders of adapters that started from one. */
  readonly adapters: readonly string[];
  /** The folder of the mean. */
  readonly out: string;
  /** One for each adapter; their ratios matter. */
  readonly weights?: readonly number[] | undefined;
  /** The base's config; some methods keep too little to tell the base's shape without it. */
  readonly model?: ModelConfig | undefined;
  /** Replace an adapter in `out`. */
  readonly overwrite?: boolean | undefined;
}

/** The mean that was written. @inline */
export interface AverageSummary {
  readonly out: string;
  readonly adapter: AdapterConfig;
  /** Of each adapter, with a sum of 1. */
  readonly weights: readonly number[];
}

/**
 * Saves the weighted mean of adapters of one base, method, settings and seed, whose index tables and other frozen tensors are
 * equal. It is computed in float64 and rounded once: of equal adapters it is that adapter.
 *
 * @throws MosError `bad_adapter` with the file and the field or tensor that differs; `unsupported` for a method whose factors are
 * not linear in what it trains; `bad_option`, and what loading an adapter throws.
 */
export async function averageAdapters(options: AverageOptions): Promise<AverageSummary> {
  checkCall<AverageOptions>("averageAdapters", options, {
    ...averageSettings,
    adapters: kinds.array,
    out: z.string(),
    model: kinds.object.optional(),
    overwrite: z.boolean().optional(),
  });
  const { weights } = parseSettings(averageSettings, pick(averageSettings, options));
  const { adapters: folders, out, overwrite = false, model } = options;
  const shares = toShares(weights ?? folders.map(() => 1), folders.length);
  await checkFolderTarget(out, { overwrite, sources: folders });
  let mean: Mean | undefined;
  for (const [i, folder] of folders.entries())
    mean = add(mean, await readAverageable(folder, { model, first: mean }), shares[i] ?? 0);
  if (mean === undefined)
    throw new MosError("bad_option", "adapters: there is none; give one or more folders");
  await saveAdapter(out, roundMean(mean), { base: mean.base });
  return { out, adapter: mean.adapter.config, weights: shares };
}

/** Weights with a sum of 1. Throws `bad_option`. */
function toShares(weights: readonly number[], adapters: number): readonly number[] {
  const sum = weights.reduce((a, b) => a + b, 0);
  if (weights.length === adapters && Number.isFinite(sum)) return weights.map((weight) => weight / sum);
  throw new MosError(
    "bad_option",
    `weights: ${show(weights, 60)} is invalid for ${adapters} adapters; give a number for each`,
  );
}

/** An adapter with its base, and what its folder says. */
interface Averageable {
  readonly folder: string;
  readonly adapter: Adapter;
  readonly base: AdapterBase;
  readonly fields: SavedFields;
}

/** The first adapter, and the weighted sums of the tensors that are trained. */
interface Mean extends Averageable {
  readonly sums: ReadonlyMap<string, Float64Array>;
}

const differs = (file: string, what: string, { folder }: Averageable): MosError =>
  new MosError(
    "bad_adapter",
    `${file}: ${what} in ${folder}; a mean is only of adapters that started from one, so start every run from the same folder`,
  );

/** Reads an adapter that a mean can be of. Throws MosError `bad_adapter`, `unsupported`, and what opening it throws. */
async function readAverageable(
  folder: string,
  { model, first }: { readonly model: ModelConfig | undefined; readonly first: Mean | undefined },
): Promise<Averageable> {
  await using opened = await openAdapterFolder(folder);
  const where = join(folder, ADAPTER_CONFIG);
  const { config } = await opened.describe();
  if (!methods[config.method].hasLinearFactors)
    throw new MosError(
      "unsupported",
      `${where}: A and B of ${config.method} are products of trained tensors, whose mean would give other factors than their mean; train with another method`,
    );
  const fields = opened.fields();
  const { name = "", fingerprint, ...base } = savedBase(fields);
  if (fingerprint === undefined)
    throw new MosError(
      "bad_adapter",
      `${where}: field "base_fingerprint" is missing, so its base is unknown; convert the folder with mos import`,
    );
  if (first !== undefined) checkFields(fields, where, first);
  const shapes =
    first?.adapter.shapes ?? (model === undefined ? await opened.shapes() : toLayerShapes(model));
  const checked = await opened.check({ shapes, fingerprint: undefined });
  // of PEFT's folders the decoder is not known, and of ours it stays what it was
  const read = await checked.read(async ({ shape }) => ({ shape, data: new Float32Array(0) })); // what no file has is not needed
  const adapter = { ...read, shapes: { ...shapes, decoder: base.decoder } };
  return { folder, adapter, fields, base: { name, fingerprint, ...base } };
}

/** Fields of adapter_config.json in which adapters of one mean may differ: they change nothing that is computed. */
const FREE_FIELDS: readonly string[] = ["base_model_name_or_path", "lora_dropout"];

function checkFields(fields: SavedFields, where: string, first: Averageable): void {
  for (const name of new Set([...Object.keys(fields), ...Object.keys(first.fields)])) {
    const [own, other] = [fields[name], first.fields[name]];
    if (show(own) !== show(other) && !FREE_FIELDS.includes(name))
      throw differs(where, `${name} is ${show(own, 80)}, but ${show(other, 80)}`, first);
  }
}

/** Adds an adapter to the sums. Throws `bad_adapter` where a tensor that is not trained differs. */
function add(mean: Mean | undefined, one: Averageable, share: number): Mean {
  const { adapter, folder } = one;
  const { sums, ...first } = mean ?? { ...one, sums: new Map<string, Float64Array>() };
  const added = new Map<string, Float64Array>();
  const { tensors, tensorName } = bindMethod(adapter.config);
  for (const { name, role } of tensors(adapter.shapes)) {
    const data = adapter.tensors.get(name)?.data ?? new Float32Array(0);
    if (role === "trainable") {
      const sum = sums.get(name) ?? new Float64Array(data.length);
      for (let i = 0; i < data.length; i++) sum[i] = (sum[i] ?? 0) + share * (data[i] ?? 0);
      added.set(name, sum);
    } else if (data.some((value, i) => value !== first.adapter.tensors.get(name)?.data[i])) {
      throw differs(join(folder, ADAPTER_TENSORS), `${tensorName(name)} is not that`, first);
    }
  }
  return { ...first, sums: added };
}

const roundMean = ({ adapter, sums }: Mean): Adapter => ({
  ...adapter,
  tensors: new Map(
    Array.from(adapter.tensors, ([name, { shape, data }]) => {
      const sum = sums.get(name);
      return [name, { shape, data: sum === undefined ? data : Float32Array.from(sum) }] as const;
    }),
  ),
});
