import { MosError } from "#core";
import { pull, resolveCached } from "#hub";
import { type LlamaConfig, presetConfig, presets } from "#models";
import {
  type AdapterParams,
  adapterParams,
  FLEETS,
  PRECISIONS,
  type Precision,
  paperTable,
  parameterCount,
  readModelConfig,
} from "#recipes";
import { pathExists } from "#storage";
import { adapterInput, refuseSettings } from "./adapter-input.ts";
import { adapterText, formatShare, frozenRows } from "./budget-text.ts";
import type { ParamsOptions } from "./params-command.ts";
import { paperTableText } from "./params-table.ts";
import { formatBytes, formatCount, formatInteger } from "./progress.ts";
import { hubOfUser } from "./pull.ts";
import { labelled, sayJson, sayLine } from "./terminal.ts";
import { textTable } from "./text-table.ts";

const BYTES_TO_FILL = 1e9;

/** Prints what an adapter will cost. */
export async function runParams(options: ParamsOptions): Promise<void> {
  const json = options.json === true;
  if (options.listPresets === true) {
    if (json) sayJson(presets);
    else sayLine(presetTable());
    return;
  }
  if (options.table === true) refuseSettings(options);
  const { name, config } = await modelOf(options);
  if (options.table === true) {
    const rows = paperTable(config);
    if (json) sayJson({ model: name, fleets: FLEETS, rows });
    else sayLine(paperTableText(name, rows));
    return;
  }
  const params = adapterParams(config, adapterInput(options));
  if (json) sayJson({ model: name, ...params, perGigabyte: perGigabyte(params) });
  else sayLine(paramsText(name, params));
}

interface NamedConfig {
  readonly name: string;
  readonly config: LlamaConfig;
}

async function modelOf({ model, preset, config }: ParamsOptions): Promise<NamedConfig> {
  if (preset !== undefined) return { name: preset, config: presetConfig(preset) };
  if (config !== undefined) return { name: config, config: await readModelConfig(config) };
  if (model !== undefined) return { name: model, config: await readModelConfig(await configPath(model)) };
  throw new MosError(
    "bad_option",
    "for which model? Give --model, --preset (see --list-presets) or --config",
  );
}

/** Where a model's config is; of a model on the hub that is not here, only config.json is downloaded. */
export async function configPath(model: string): Promise<string> {
  if (!/^[^/\\.][^/\\]*\/[^/\\]+$/.test(model) || (await pathExists(model))) return model;
  const hub = await hubOfUser();
  const cached = await resolveCached(model, hub);
  if (cached !== undefined || hub.offline) return cached?.path ?? model;
  for await (const event of pull(model, {
    ...hub,
    ...(model.includes(":") ? {} : { include: ["config.json"] }),
  }))
    if (event.type === "done") return event.model.path;
  return model;
}

/** How many adapters fit into a gigabyte. */
const perGigabyte = ({ budget }: AdapterParams): Readonly<Record<Precision, number>> => {
  const fitting = (precision: Precision): number => Math.floor(BYTES_TO_FILL / budget.bytes[precision]);
  return { float32: fitting("float32"), bfloat16: fitting("bfloat16"), int8: fitting("int8") };
};

function paramsText(name: string, params: AdapterParams): string {
  const { budget, layers, parameters, types, adapter } = params;
  const { trainable } = budget;
  return [
    labelled([
      ["model", `${name}: ${formatCount(parameters)} parameters in ${layers} layers`],
      ["adapter", adapterText(adapter)],
      [
        "trainable",
        `${formatInteger(trainable)} numbers, ${formatShare(trainable / parameters)} of the model`,
      ],
      ...frozenRows(budget),
      ...(budget.ratio === 1 ? [] : [["budget", budgetRow(params)] as const]),
    ]),
    "",
    sizeTable(params),
    "",
    textTable([
      ["linear type", "in", "out", "trainable"],
      ...types.map((type) => [
        type.linear,
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
    const own = [precision, formatBytes(budget.bytes[precision]), formatInteger(fitting[precision])];
    return budget.ratio === 1
      ? own
      : [...own, formatBytes(bytes), formatInteger(Math.floor(BYTES_TO_FILL / bytes))];
  });
  const head = ["one adapter", "file", "in 1 GB"];
  return textTable([budget.ratio === 1 ? head : [...head, `${beside}: file`, "in 1 GB"], ...rows]);
}

function presetTable(): string {
  const rows = Object.entries(presets).map(([name, config]) => [
    name,
    formatCount(parameterCount(config)),
    String(config.layers),
    formatInteger(config.hiddenSize),
    formatInteger(config.intermediateSize),
    `${config.heads}/${config.keyValueHeads}`,
  ]);
  return textTable([["preset", "parameters", "layers", "width", "mlp", "heads/kv"], ...rows]);
}
