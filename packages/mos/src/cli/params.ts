import {
  type AdapterParams,
  adapterParams,
  FLEETS,
  fittingConfig,
  type PaperTableRow,
  PRECISIONS,
  type Precision,
  paperTable,
} from "mixture-of-shards-core/adapters";
import {
  adjust,
  describeBytes,
  describeCount,
  fitsMemory,
  flag,
  freeMemory,
  limitedMemory,
  MosError,
  type SettingValues,
  setting,
} from "mixture-of-shards-core/common";
import { listFolder } from "mixture-of-shards-core/files";
import { defaultMaxLength, slotCacheBytes } from "mixture-of-shards-core/inference";
import {
  baseFromConfig,
  baseFromFiles,
  describeStorage,
  openModel,
  type PlannedBase,
  PRESET_NAMES,
  PRESETS,
  parameterCount,
  presetConfig,
  readModelConfig,
  toLayerShapes,
} from "mixture-of-shards-core/models";
import {
  dataSettings,
  leastMemory,
  memorySettings,
  planMemory,
  trainingSettings,
} from "mixture-of-shards-core/training";
import { z } from "zod";
import { defineCommand, group } from "./command.ts";
import { adapterInput, adapterOptions, configOnly, refuseSettings } from "./common-options.ts";
import { formatInteger, labelled, textTable } from "./format.ts";
import { configPath } from "./loading.ts";
import { adapterText, formatShare, frozenRows } from "./model-text.ts";
import { MOS, printResult } from "./terminal.ts";

const options = {
  ...group("Model", {
    model: configOnly,
    preset: setting(z.string(), { placeholder: "name", help: "name of a preset model shape" }),
    config: setting(z.string(), { placeholder: "file", help: "a config.json" }),
    listPresets: flag({ help: "list the presets" }),
  }),
  ...group("Output", {
    table: flag({
      help: "compare all methods of the paper's tables, and the memory of 1, 1,000 and 10,000 adapters",
    }),
  }),
  ...group("Memory of training", {
    memory: flag({
      help: "estimate training memory, check that this machine has it, and show a server's slot",
    }),
    batchSize: adjust(trainingSettings.batchSize, { default: 4, defaultText: "4" }),
    maxLength: adjust(dataSettings.maxLength, { default: 512, defaultText: "512" }),
    gradientAccumulationSteps: trainingSettings.gradientAccumulationSteps,
    ...memorySettings,
  }),
  ...group("Adapter", adapterOptions),
};
type Values = SettingValues<typeof options>;

export const command = defineCommand({
  description: "Shows the trainable parameters and size of an adapter before training, compared with LoRA.",
  usage: "--model <model> | --preset <name> | --config <file> [options]",
  options,
  conflicts: [
    ["model", "preset", "config"],
    ["table", "memory"],
  ],
  examples: `
Examples:
  mos params --preset qwen3.5-0.8b
  mos params --preset llama3.2-3b --equivalent-rank 8 --rank 32 --shards-per-vector 8
  mos params --model models/llama --method lora --rank 8
  mos params --preset llama2-7b --table
  mos params --preset gemma4-e2b --memory --base-dtype int4 --batch-size 1 --max-length 512
  mos params --list-presets

Only config.json of a model folder is read; the weights are not needed.`,
  async run(options) {
    const { json } = options;
    if (options.listPresets) {
      const presets = Object.fromEntries(
        PRESET_NAMES.map((name) => {
          const { repository, license } = PRESETS[name];
          return [name, { repository, license, config: presetConfig(name) }];
        }),
      );
      return printResult(json, presets, presetTable);
    }
    if (options.table) refuseSettings(options, "--table, which shows the paper's settings");
    if (options.memory) return await showMemory(options, json);
    const { name, config } = await resolveConfig(options);
    if (options.table) {
      const rows = paperTable(config);
      return printResult(json, { model: name, fleets: FLEETS, rows }, () => paperTableText(name, rows));
    }
    const params = adapterParams(config, adapterInput(options));
    const fitting = perGigabyte(params);
    printResult(json, { model: name, ...params, perGigabyte: fitting }, () => paramsText(name, params));
  },
});

const BYTES_TO_FILL = 1e9;

async function resolveConfig({ model, preset, config }: Values) {
  if (preset !== undefined) return { name: preset, config: presetConfig(preset) };
  if (config !== undefined) return { name: config, config: await readModelConfig(config) };
  if (model !== undefined) return { name: model, config: await readModelConfig(await configPath(model)) };
  throw new MosError("bad_option", "one of --model, --preset (see --list-presets) or --config is required");
}

/** The weights' own types where the model is here, and 16 bits where only its config is. */
async function planBase(options: Values): Promise<PlannedBase> {
  const path = options.model === undefined ? undefined : await configPath(options.model);
  const isWhole = path !== undefined && !path.endsWith(".json") && (await hasWeights(path));
  if (!isWhole) {
    const { name, config } = await resolveConfig(options);
    return baseFromConfig(name, config);
  }
  await using files = await openModel(path);
  return baseFromFiles(files);
}

const hasWeights = async (path: string): Promise<boolean> =>
  path.endsWith(".gguf") || (await listFolder(path)).some((name) => /\.(safetensors|gguf)$/.test(name));

/** The plan of a training run, without what is free refusing it. */
async function showMemory(options: Values, json: boolean): Promise<void> {
  const base = await planBase(options);
  const free = limitedMemory(options.memoryLimit, await freeMemory());
  const adapter = fittingConfig(adapterInput(options), toLayerShapes(base.config));
  const size = { ...options, evaluates: true };
  const memory = planMemory(base, adapter, { ...size, free });
  const least = leastMemory(base, adapter, size).bytes;
  const slotLength = defaultMaxLength(base.config);
  const slot = slotCacheBytes(base.config, { maxLength: slotLength });
  const { plan, rematerialise } = memory;
  const kept = describeStorage(base.formsOf({ ...options, ...memory }));
  const fits = fitsMemory(plan, free);
  const { batchSize, maxLength } = options;
  const available = free.bytes + free.resident;
  const result = { model: base.name, kept, rematerialise, ...plan, least, free: available, fits, slot };
  printResult(json, result, () =>
    [
      `Training ${base.name}, ${batchSize} × ${formatInteger(maxLength)} tokens, base in ${kept}`,
      textTable([
        ["part", "memory"],
        ...plan.parts.map(({ name, bytes }) => [name, describeBytes(bytes)]),
        ["all", describeBytes(plan.bytes)],
        ["free", describeBytes(available)],
      ]),
      ...(least < plan.bytes
        ? [`Where less is free, slower ways take ${describeBytes(least)} or more.`]
        : []),
      `In a server, a slot of ${formatInteger(slotLength)} tokens takes ${describeBytes(slot)}.`,
      ...(rematerialise === "layers" ? ["Layers are recomputed in the backward pass."] : []),
      ...(fits ? [] : [`This machine does not have enough memory; ${MOS} train suggests settings that fit.`]),
    ].join("\n\n"),
  );
}

/** The number of adapters that fit into a gigabyte. */
const perGigabyte = ({ budget }: AdapterParams): Readonly<Record<Precision, number>> => {
  const fitting = (precision: Precision): number => Math.floor(BYTES_TO_FILL / budget.bytes[precision]);
  return { float32: fitting("float32"), bfloat16: fitting("bfloat16"), int8: fitting("int8") };
};

function paramsText(name: string, params: AdapterParams): string {
  const { budget, layers, parameters, types, adapter } = params;
  const { trainable } = budget;
  return [
    labelled([
      ["model", `${name}: ${describeCount(parameters)} parameters in ${layers} layers`],
      ["adapter", adapterText(adapter)],
      [
        "trainable",
        `${formatInteger(trainable)} parameters, ${formatShare(trainable / parameters)} of the model`,
      ],
      ...frozenRows(budget),
      budget.ratio !== 1 && ["budget", budgetRow(params)],
    ]),
    "",
    sizeTable(params),
    "",
    textTable([
      ["linear type", "in", "out", "trainable"],
      ...types.map((type) => [
        type.layers === layers ? type.linear : `${type.linear} in ${type.layers} layers`,
        formatInteger(type.in),
        formatInteger(type.out),
        type.trainable === undefined ? "shared" : formatInteger(type.trainable),
      ]),
    ]),
  ].join("\n");
}

const budgetRow = ({ budget, adapter }: AdapterParams): string =>
  `as many as LoRA of rank ${Number(budget.equivalentRank.toPrecision(6))}; ${formatShare(budget.ratio)} of LoRA of rank ${adapter.rank}`;

function sizeTable(params: AdapterParams): string {
  const { budget, adapter } = params;
  const fitting = perGigabyte(params);
  const beside = `LoRA r ${adapter.rank}`;
  const rows = PRECISIONS.map((precision) => {
    const bytes = budget.lora.bytes[precision];
    const own = [precision, describeBytes(budget.bytes[precision]), formatInteger(fitting[precision])];
    return budget.ratio === 1
      ? own
      : [...own, describeBytes(bytes), formatInteger(Math.floor(BYTES_TO_FILL / bytes))];
  });
  const head = ["one adapter", "file", "in 1 GB"];
  return textTable([budget.ratio === 1 ? head : [...head, `${beside}: file`, "in 1 GB"], ...rows]);
}

function presetTable(): string {
  const rows = PRESET_NAMES.map((name) => {
    const config = presetConfig(name);
    const { repository, license } = PRESETS[name];
    const sizes = [describeCount(parameterCount(config)), String(config.layers)];
    return [name, ...sizes, formatInteger(config.hiddenSize), license, repository];
  });
  const head = ["preset", "parameters", "layers", "width", "licence", "on the Hub"];
  return textTable([head, ...rows], { left: [0, 4, 5] });
}

/** The paper's column, and which LoRA is as good. */
const parameterTable = (rows: readonly PaperTableRow[]): string =>
  textTable([
    ["method", "rank", "# Param.", "paper's avg", "LoRA as good", "# Param.", "times"],
    ...rows.map(({ method, rank, parameters, average, lora }) => {
      const beside = [average.toFixed(2), `r ${lora.rank}`, formatInteger(lora.parameters)];
      return parameters === undefined
        ? [method, rank, "–", ...beside, "–"]
        : [method, rank, formatInteger(parameters), ...beside, (lora.parameters / parameters).toFixed(1)];
    }),
  ]);

const memoryTable = (rows: readonly PaperTableRow[], precision: Precision): string => {
  const counts = FLEETS.map(formatInteger);
  return textTable([
    [`adapters in ${precision}`, "rank", ...counts, "LoRA", ...counts],
    ...rows.map(({ method, rank, bytes, lora }) => [
      ...[method, rank, ...(bytes?.[precision].map(describeBytes) ?? counts.map(() => "–"))],
      ...[`r ${lora.rank}`, ...lora.bytes[precision].map(describeBytes)],
    ]),
  ]);
};

/** The tables of --table. */
function paperTableText(model: string, rows: readonly PaperTableRow[]): string {
  const problems = rows.flatMap(({ method, rank, problem }) =>
    problem === undefined ? [] : [`${method} ${rank} does not fit this model: ${problem}`],
  );
  return [
    `The paper's settings on ${model}`,
    parameterTable(rows),
    `Memory for ${FLEETS.map(formatInteger).join(", ")} adapters; on the right, of an equally good LoRA`,
    ...PRECISIONS.map((precision) => memoryTable(rows, precision)),
    [
      "paper's avg: mean of six benchmark scores on LLaMA2-7B. LoRA as good: the rank with the nearest average.",
      "For methods that share all pairs, rank is the number of pairs, twice the layers; subset selection uses 8 per layer.",
      "PRoLoRA with u = 0 and m = 2 or 4. VeRA's shared projections, generated from the seed, are counted once.",
      ...problems,
    ].join("\n"),
  ].join("\n\n");
}
