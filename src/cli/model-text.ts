// What `mos inspect` shows of a model.
import type { ModelInspection } from "#recipes";
import { counted, formatBytes, formatCount, formatInteger } from "./numbers.ts";
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
      `${counted(layers, "layer")} of width ${formatInteger(hiddenSize)}, ${formatCount(parameters)} parameters`,
    ],
    [
      "",
      `vocabulary of ${formatInteger(vocabularySize)}${tiedHead ? ", head tied" : ""}, up to ${formatInteger(maxPositions)} tokens`,
    ],
    ["fingerprint", `${fingerprint} (of these very numbers)`],
    [
      "identity",
      identity === undefined
        ? "none: its norms are all one number, so adapters fit this file alone"
        : `${identity} (of the model in any quantisation)`,
    ],
  ]);
}

function typeTable({ types }: ModelInspection): string {
  const rows = types.map(({ type, tensors, numbers, bytes, form, storedBytes }) => [
    ...[type, formatInteger(tensors), formatInteger(numbers), formatBytes(bytes)],
    ...[form, formatBytes(storedBytes)],
  ]);
  const head = ["type", "tensors", "numbers", "in the file", "as stored", "in memory"];
  return textTable([head, ...rows], { left: [0, 4] });
}

function memoryTable({ memory }: ModelInspection): string {
  const rows = Object.entries(memory).map(([dtype, bytes]) => [
    dtype,
    bytes === undefined ? "not possible" : formatBytes(bytes),
  ]);
  return textTable([["--base-dtype", "bytes"], ...rows], { left: [0] });
}
