// The card of an adapter on the hub: README.md with the metadata that the hub reads, made from the adapter's settings and the
// record of its training.
import { join } from "node:path";
import { type AdapterDescription, RUN_FILES } from "mixture-of-shards-core/adapters";
import { describeBytes } from "mixture-of-shards-core/common";
import { pathExists } from "mixture-of-shards-core/files";
import { readMeasurements, readRecord } from "mixture-of-shards-core/training";
import { INSTALL, manifest } from "./add-ons.ts";
import { formatInteger } from "./format.ts";
import { adapterText } from "./model-text.ts";

const SETTINGS = [
  "steps",
  "epochs",
  "batchSize",
  "gradientAccumulationSteps",
  "learningRate",
  "maxLength",
  "seed",
];

/** What a card describes. */
interface CardContent extends AdapterDescription {
  /** `org/name` on the hub. */
  readonly repository: string;
  /** `org/name` of the base. */
  readonly baseModel: string;
  /** Bytes of its tensors. */
  readonly bytes: number;
  /** Folder of its run, for the record of its training. */
  readonly folder: string;
}

/** The text of README.md. */
export async function adapterCard(content: CardContent): Promise<string> {
  const { repository, baseModel, config, parameters, bytes, folder } = content;
  const isLora = config.method === "lora";
  const name = repository.split("/").at(-1) ?? repository;
  const training = await trainingRows(folder);
  const rows = [
    ["Base model", `[${baseModel}](https://huggingface.co/${baseModel})`],
    ["Method", adapterText(config)],
    ["Trained modules", config.targets.join(", ")],
    ["Parameters", formatInteger(parameters)],
    ["Size", describeBytes(bytes)],
    ...training,
  ];
  const metadata = [
    `base_model: ${baseModel}`,
    "base_model_relation: adapter",
    `library_name: ${isLora ? "peft" : "mixture-of-shards"}`,
    "pipeline_tag: text-generation",
    "tags:",
    ...["adapter", config.method, ...(isLora ? [] : ["mixture-of-shards"])].map((tag) => `- ${tag}`),
  ];
  return `---
${metadata.join("\n")}
---

# ${name}

An adapter for [${baseModel}](https://huggingface.co/${baseModel}), trained with mixture-of-shards ${manifest.version},
which is not on npm yet: to use it, ${INSTALL}.

\`\`\`sh
mos generate --model ${baseModel} --adapter ${repository} --chat
\`\`\`

| | |
|---|---|
${rows.map(([key, value]) => `| ${key} | ${value} |`).join("\n")}
`;
}

async function trainingRows(folder: string): Promise<readonly (readonly [string, string])[]> {
  if (!(await pathExists(join(folder, RUN_FILES.record)))) return [];
  const { settings, computeDtype } = await readRecord(folder);
  const shown = SETTINGS.flatMap((name) => {
    const value = settings[name];
    return typeof value === "number" ? [[sentence(name), String(value)] as const] : [];
  });
  const loss = await validationLoss(folder);
  return [
    ...shown,
    ["Base computed in", computeDtype],
    ...(loss === undefined ? [] : [["Validation loss", loss.toFixed(4)] as const]),
  ];
}

/** "Learning rate" for `learningRate`. */
const sentence = (name: string): string =>
  name
    .replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)
    .replace(/^./, (letter) => letter.toUpperCase());

/** The best loss on validation data; undefined where none was measured. */
async function validationLoss(folder: string): Promise<number | undefined> {
  let best: number | undefined;
  for await (const { measurement } of readMeasurements(folder)) {
    const { type, loss } = measurement;
    if (type === "evaluation") best = Math.min(loss, best ?? loss);
  }
  return best;
}
