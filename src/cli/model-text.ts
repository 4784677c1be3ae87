// Output of `mos inspect` for a model, and of its answer defaults.

import { basename } from "node:path";
import { describeBytes, describeCount } from "#core";
import { type AnswerDefaults, samplingBy } from "#inference";
import type { ModelInspection } from "#models";
import { flagName } from "./command.ts";
import { counted, formatInteger } from "./numbers.ts";
import { labelled, textTable } from "./tables.ts";

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
