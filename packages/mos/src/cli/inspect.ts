import { basename, join, resolve } from "node:path";
import { ADAPTER_CONFIG, type Inspection, inspectAdapter } from "mixture-of-shards-core/adapters";
import { describeBytes, MosError, setting } from "mixture-of-shards-core/common";
import { listFolder, pathExists } from "mixture-of-shards-core/files";
import { looksLikeRepository, resolveCached } from "mixture-of-shards-core/hub";
import { describePool, inspectModel, readModelConfig, singularFactors } from "mixture-of-shards-core/models";
import { z } from "zod";
import { defineCommand, group } from "./command.ts";
import { configOnly } from "./common-options.ts";
import { formatInteger, labelled, textTable } from "./format.ts";
import { listenForInterrupt } from "./interrupt.ts";
import { configPath, usableAdapter, userPlaces, withReadingLine } from "./loading.ts";
import { adapterText, formatShare, frozenRows, modelText } from "./model-text.ts";
import { printResult } from "./terminal.ts";

const options = {
  ...group("Model", { model: configOnly }),
};

export const command = defineCommand({
  description:
    "Shows the settings and budget of an adapter, the norm of its update in each layer and the use of its shards;\n" +
    "or the weight types, sizes, fingerprint and identity of a model.",
  arguments: {
    adapter: setting(z.string(), {
      required: true,
      help: "adapter folder, model folder, .gguf file, or org/name of the Hub",
    }),
  },
  options,
  examples: `
Examples:
  mos inspect adapters/acme
  mos inspect adapters/acme --model Qwen/Qwen3.5-0.8B --json
  mos inspect model.gguf
      types of the tensors, memory for each --base-dtype, fingerprint and identity

The base is not read. pure-sharing, vera, tied-lora, uni-lora, and prolora without unshared ranks do not record the shapes
of their base and need --model, but only the config of that model is read; of lora-xs its weights are read, too.`,
  async run({ adapter: folder, model, json }) {
    const modelPath = await modelAt(folder);
    if (modelPath !== undefined) {
      if (model !== undefined)
        throw new MosError("bad_option", `${folder} is a model, for which --model cannot be used`);
      await describeModel(modelPath, json);
      return;
    }
    const path = await usableAdapter(folder);
    const inspection = await inspectAdapter(path, model === undefined ? {} : await baseOf(model));
    const name = basename(resolve(folder));
    printResult(json, { name, ...inspection }, () => inspectionText(folder, inspection));
  },
});

async function baseOf(model: string) {
  const path = await configPath(model);
  return { model: await readModelConfig(path), singular: singularFactors(path) };
}

/** The files of a model, here or in the hub's cache; undefined for anything else, which is taken as an adapter. */
async function modelAt(path: string): Promise<string | undefined> {
  if (path.toLowerCase().endsWith(".gguf")) return path;
  if (!(await pathExists(path))) {
    const { hub } = await userPlaces();
    const cached = looksLikeRepository(path) ? await resolveCached(path, hub) : undefined;
    return cached?.kind === "adapter" ? undefined : cached?.path;
  }
  if (await pathExists(join(path, ADAPTER_CONFIG))) return undefined;
  const names = await listFolder(path).catch(() => []);
  return names.some((name) => name === "config.json" || name.endsWith(".gguf")) ? path : undefined;
}

async function describeModel(path: string, json: boolean): Promise<void> {
  using interrupt = listenForInterrupt("stopping", { silent: json });
  const { signal } = interrupt;
  const inspection = await withReadingLine({ json }, (onProgress) =>
    inspectModel(path, { signal, onProgress }),
  );
  printResult(json, inspection, () => modelText(inspection));
}

/** Everything for a person: facts, norms, use of the pools. */
function inspectionText(folder: string, inspection: Inspection): string {
  const { routing, modules } = inspection;
  const isNew = modules.every(({ update }) => update === 0);
  return [
    facts(folder, inspection),
    ...(isNew ? ["All updates are zero: this adapter is untrained."] : []),
    `Norm of the update: Frobenius norm of scale * B A\n${normTable(inspection)}`,
    `Means over the layers\n${typeTable(inspection)}`,
    ...(routing.length === 0
      ? []
      : [`Number of shared ${routing[0]?.unit}s by how often they are used\n${useTable(inspection)}`]),
  ].join("\n\n");
}

function facts(folder: string, { adapter, base, budget, shapes }: Inspection): string {
  const { trainable, bytes, ratio } = budget;
  const cost = `${formatInteger(trainable)} parameters, ${describeBytes(bytes.float32)} in float32`;
  const fingerprint =
    base.fingerprint === undefined ? ", without a fingerprint" : ` (${base.fingerprint.slice(0, 19)}…)`;
  return labelled([
    ["adapter", folder],
    ["method", adapterText(adapter)],
    ["base", `${base.name ?? "unnamed"}${fingerprint}, ${shapes.layers} layers`],
    ["trainable", ratio === 1 ? cost : `${cost}; ${formatShare(ratio)} of LoRA of rank ${adapter.rank}`],
    ...frozenRows(budget),
  ]);
}

/** Three digits, as people compare sizes. */
const short = (value: number): string => (value === 0 ? "0" : value.toPrecision(3));

function normTable({ adapter, shapes, modules }: Inspection): string {
  const found = new Map(modules.map((target) => [`${target.layer} ${target.linear}`, target]));
  const rows = Array.from({ length: shapes.layers }, (_, layer) => [
    String(layer),
    // not every layer has every linear layer
    ...adapter.targets.map((linear) => {
      const update = found.get(`${layer} ${linear}`)?.update;
      return update === undefined ? "–" : short(update);
    }),
  ]);
  return textTable([["layer", ...adapter.targets], ...rows]);
}

function typeTable({ adapter, modules }: Inspection): string {
  const mean = (values: readonly number[]): string =>
    short(values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length));
  const rows = adapter.targets.map((linear) => {
    const some = modules.filter((target) => target.linear === linear);
    const means = (["a", "b", "update", "spectral", "stableRank"] as const).map((norm) =>
      mean(some.map((target) => target[norm])),
    );
    return [linear, ...means, String(some[0]?.rank ?? 0)];
  });
  const head = ["linear type", "|A|", "|B|", "|update|", "largest singular value", "stable rank", "rank"];
  return textTable([head, ...rows]);
}

/** Rows with this many uses or more are counted together. */
const MAX_COLUMNS = 8;

function useTable({ routing }: Inspection): string {
  const longest = Math.max(...routing.map(({ usedTimes }) => usedTimes.length)) - 1;
  const last = Math.min(longest, MAX_COLUMNS);
  const head = Array.from({ length: last + 1 }, (_, n) => `${n}${n === last && longest > last ? "+" : ""}×`);
  const rows = routing.map(({ linear, side, shared, usedTimes, meanUses, mostUsed, privateShare }) => [
    `${describePool(linear)} ${side}`,
    formatInteger(shared),
    ...head.map((_, n) => {
      const counts = n === last ? usedTimes.slice(n) : [usedTimes[n] ?? 0];
      return formatInteger(counts.reduce((sum, count) => sum + count, 0));
    }),
    short(meanUses),
    mostUsed.times === 0 ? "none" : `${mostUsed.times}× (no. ${mostUsed.row})`,
    formatShare(privateShare),
  ]);
  return textTable([["pool", "shared", ...head, "mean", "most used", "private"], ...rows]);
}
