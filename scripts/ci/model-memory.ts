// The memory of published models, counted from their configs, for docs/reference/models.md. A document marks the place:
//   <!-- counted: models -->
// usage: npm run counted   (counts all of them anew, which takes minutes; test/model-memory.slow.test.ts checks that they are current)
import { readFileSync, writeFileSync } from "node:fs";
import { fittingConfig } from "mixture-of-shards-core/adapters";
import { describeBytes, describeCount } from "mixture-of-shards-core/common";
import { defaultMaxLength, slotCacheBytes } from "mixture-of-shards-core/inference";
import {
  type BaseDtype,
  baseFromConfig,
  PRESETS,
  type PresetName,
  parameterCount,
  presetConfig,
  RECENT_NAMES,
  toLayerShapes,
} from "mixture-of-shards-core/models";
import { leastMemory } from "mixture-of-shards-core/training";
import { markdownTable } from "../../packages/lab/src/evaluation/results.ts";

/** The page that has the table. */
export const MODELS_PAGE = "docs/reference/models.md";

const HEAD = [
  "on the Hub",
  "licence",
  "parameters",
  "training in 4 bits",
  "in 16 bits",
  "slot",
  "`--preset`",
];

/** One row: what a step of 1 × 512 tokens with the default adapter takes at least, and a slot of a server. */
export function modelRow(name: PresetName): readonly string[] {
  const { repository, license } = PRESETS[name];
  const config = presetConfig(name);
  const base = baseFromConfig(name, config);
  const adapter = fittingConfig({ method: "mos" }, toLayerShapes(config));
  const step = { batchSize: 1, maxLength: 512, gradientAccumulationSteps: 1, computeDtype: undefined };
  const training = (baseDtype: BaseDtype): string =>
    describeBytes(leastMemory(base, adapter, { ...step, baseDtype, evaluates: true }).bytes);
  const slot = describeBytes(slotCacheBytes(config, { maxLength: defaultMaxLength(config) }));
  const memory = [training("int4"), training("stored"), slot];
  return [`\`${repository}\``, license, describeCount(parameterCount(config)), ...memory, `\`${name}\``];
}

export const modelTable = (names: readonly PresetName[]): string =>
  markdownTable([HEAD, ...names.map(modelRow)], { left: [0, 1, 6] });

const PLACE = /(<!-- counted: models -->\n)[\s\S]*?(\n<!-- end of counted -->)/;

/** The table of a document, as it is. */
export const countedIn = (markdown: string): string => PLACE.exec(markdown)?.[0] ?? "";

if (process.argv[1]?.endsWith("model-memory.ts") === true) {
  const table = modelTable(RECENT_NAMES);
  const page = readFileSync(MODELS_PAGE, "utf8");
  writeFileSync(
    MODELS_PAGE,
    page.replace(PLACE, (_, begin: string, end: string) => begin + table + end),
  );
}
