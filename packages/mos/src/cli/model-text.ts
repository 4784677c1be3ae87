// Descriptions of models, their sampling defaults, and adapters.
import { basename } from "node:path";
import { type AdapterConfig, type Budget, describeTrainedOn } from "mixture-of-shards-core/adapters";
import { describeBytes, describeCount } from "mixture-of-shards-core/common";
import type { ChatFacts, LoraSummary } from "mixture-of-shards-core/convert";
import { type AnswerDefaults, samplingBy } from "mixture-of-shards-core/inference";
import type { ModelInspection } from "mixture-of-shards-core/models";
import { flagName } from "./command.ts";
import { counted, formatInteger, labelled, type Row, textTable } from "./format.ts";
import { printable, shellWord } from "./terminal.ts";

/** Facts, types of the tensors, and bytes under each base dtype. */
export function modelText(inspection: ModelInspection): string {
  return [
    facts(inspection),
    `Weights by their type in the file\n${typeTable(inspection)}`,
    `Weights in memory\n${memoryTable(inspection)}`,
  ].join("\n\n");
}

function facts({ path, config, parameters, format, fingerprint, identity }: ModelInspection): string {
  const { layers, hiddenSize, vocabularySize, maxPositions, tiedHead } = config;
  return labelled([
    ["model", path],
    ["format", format === "gguf" ? "GGUF" : "Hugging Face folder"],
    [
      "shape",
      `${counted(layers, "layer")} of width ${formatInteger(hiddenSize)}, ${describeCount(parameters)} parameters`,
    ],
    [
      "",
      `vocabulary of ${formatInteger(vocabularySize)}${tiedHead ? ", head tied" : ""}, up to ${formatInteger(maxPositions)} tokens`,
    ],
    ["fingerprint", `${fingerprint} (of these exact weights)`],
    [
      "identity",
      identity === undefined
        ? "none: its norms are constant, so adapters fit this file only"
        : `${identity} (of the model in any quantisation)`,
    ],
  ]);
}

function typeTable({ types }: ModelInspection): string {
  const rows = types.map(({ type, tensors, numbers, bytes, form, storedBytes }) => [
    ...[type, formatInteger(tensors), formatInteger(numbers), describeBytes(bytes)],
    ...[form, describeBytes(storedBytes)],
  ]);
  const head = ["type", "tensors", "numbers", "in the file", "as stored", "in memory"];
  return textTable([head, ...rows], { left: [0, 4] });
}

function memoryTable({ memory }: ModelInspection): string {
  const rows = Object.entries(memory).map(([dtype, bytes]) => [
    dtype,
    bytes === undefined ? "not possible" : describeBytes(bytes),
  ]);
  return textTable([["--base-dtype", "bytes"], ...rows], { left: [0] });
}

/**
 * `temperature 0.6, top-p 0.9 (generation_config.json); top-k 40 (option)`. A temperature that nothing sets, but that is used,
 * stands first.
 */
export function defaultsText({ sampling, maxTokens, sources }: AnswerDefaults): string {
  const values: Readonly<Record<string, unknown>> = { ...sampling, maxTokens };
  const bySource = new Map<string, string[]>();
  for (const [name, source] of Object.entries(sources))
    bySource.set(source, [...(bySource.get(source) ?? []), `${flagName(name)} ${String(values[name])}`]);
  if (bySource.size === 0) return "greedy: neither options nor the model's files set sampling parameters";
  const implied = "temperature" in sources ? [] : [`temperature ${samplingBy({ sampling }).temperature}`];
  const set = [...bySource].map(([source, parts]) => `${parts.join(", ")} (${basename(source)})`);
  return [...implied, ...set].join("; ");
}

const LETTERS: Readonly<Record<string, string>> = {
  equivalentRank: "e",
  rank: "r",
  shardsPerVector: "l",
  privateRank: "p",
  unsharedRank: "u",
  chunks: "m",
  scaleMean: "scale mean",
  scaleDeviation: "scale deviation",
};

/** The method with its settings, by the paper's letters where it has some: "mos: e 2, r 8, l 4, p 1, alpha 16; on q, k, v, o, gate, up, down". */
export function adapterText(adapter: AdapterConfig): string {
  const fields = new Map(Object.entries(adapter));
  const letters = Object.entries(LETTERS).flatMap(([field, letter]) =>
    fields.has(field) ? [`${letter} ${fields.get(field)}`] : [],
  );
  const settings = [...letters, ...("alpha" in adapter ? [`alpha ${adapter.alpha}`] : [])];
  if (adapter.dropout > 0) settings.push(`dropout ${adapter.dropout}`);
  if (fields.get("pairDissociation") === false) settings.push("B routed as A");
  const targets = adapter.targets.map((name) => name.replace(/_proj$/, ""));
  return `${adapter.method}: ${settings.join(", ")}; on ${targets.join(", ")}`;
}

/** Rows of frozen parameters for `labelled`; none where there are none. */
export const frozenRows = ({ frozen, seeded }: Budget): readonly (Row | false)[] => [
  frozen > 0 && ["tables", `${formatInteger(frozen)} parameters, drawn once and saved with the adapter`],
  seeded > 0 && ["made again", `${formatInteger(seeded)} numbers from the seed or the base, not saved`],
];

/** A share in as many digits as say something. */
export const formatShare = (share: number): string => `${Number((100 * share).toPrecision(2))}%`;

/** Cost of the adapter, compared with the model and with LoRA of the same rank. */
export function budgetText({ trainable, bytes, lora, ratio }: Budget, parameters: number): string {
  const cost = `${formatInteger(trainable)} trainable parameters (${formatShare(trainable / parameters)} of the model), ${describeBytes(bytes.float32)}`;
  if (trainable === lora.trainable) return cost;
  return `${cost}; LoRA of the same rank: ${describeCount(lora.trainable)} in ${describeBytes(lora.bytes.float32)}, ${(1 / ratio).toFixed(1)}× as many`;
}

/** "rank 8, alpha 16; on q, k, v". */
export const loraText = ({ rank, alpha, targets }: LoraSummary): string =>
  `rank ${rank}, alpha ${Number(alpha.toPrecision(6))}; on ${targets.map((name) => name.replace(/_proj$/, "")).join(", ")}`;

/** A row for `labelled` where the adapter comes from another quantisation of the model; else none. */
export const trainedOnRow = ({ trainedOn }: LoraSummary): readonly Row[] =>
  trainedOn === undefined ? [] : [["", describeTrainedOn(trainedOn)]];

export const chatRows = (facts: ChatFacts | undefined): readonly (Row | false)[] =>
  facts === undefined
    ? []
    : [
        facts.system !== null && [
          "system message",
          `${printable(JSON.stringify(facts.system))}, where none is given`,
        ],
        ["answers end at", printable(facts.stops.join(", "))],
      ];

/** How llama.cpp asks a model as it is asked here. */
export const ALIKE = "--jinja --temp 0";

/** The command that gives Ollama a Modelfile, under the file's name. */
export const ollamaCreate = (modelfile: string): string =>
  `ollama create ${shellWord(basename(modelfile, ".Modelfile"))} --file ${shellWord(modelfile)}`;
