import { stat } from "node:fs/promises";
import { join } from "node:path";
import {
  ADAPTER_CONFIG,
  ADAPTER_TENSORS,
  type AdapterDescription,
  openAdapterFolder,
  RUN_FILES,
} from "mixture-of-shards-core/adapters";
import {
  describeBytes,
  flag,
  MosError,
  omitUndefined,
  type SettingValues,
  setting,
} from "mixture-of-shards-core/common";
import { pathExists, readBytes } from "mixture-of-shards-core/files";
import { looksLikeRepository, type PushEvent, push } from "mixture-of-shards-core/hub";
import { readMeasurements, readRecord } from "mixture-of-shards-core/training";
import { z } from "zod";
import { INSTALL, manifest } from "./add-ons.ts";
import { defineCommand, flagName, group } from "./command.ts";
import { quiet } from "./common-options.ts";
import { counted, formatBar, formatInteger, type Row } from "./format.ts";
import { listenForInterrupt } from "./interrupt.ts";
import { usableAdapter, userPlaces } from "./loading.ts";
import { adapterText } from "./model-text.ts";
import { type LiveLine, MOS, printLine, resultText, watchEvents } from "./terminal.ts";

const CARD = "README.md";

const positional = {
  adapter: setting(z.string(), { required: true, help: "adapter folder" }),
  repository: setting(z.string(), { required: true, help: "org/name" }),
};
const options = {
  ...group("Repository", {
    private: flag({ help: "make the repository private" }),
    revision: setting(z.string(), { placeholder: "branch", default: "main", help: "branch to commit to" }),
    baseModel: setting(z.string(), {
      placeholder: "org/name",
      defaultText: "the one that the adapter names",
      help: "base model on the Hub",
    }),
  }),
  ...group("Network", {
    uploadHost: setting(z.array(z.string()).readonly(), {
      placeholder: "host",
      help: "host that files may be uploaded to, besides those of the Hub's own domain; repeatable",
    }),
  }),
  ...group("Output", { quiet }),
};
type Values = SettingValues<typeof options> & SettingValues<typeof positional> & { readonly json: boolean };

export const command = defineCommand({
  description: "Uploads an adapter with its card to the Hugging Face Hub.",
  usage: "<adapter> <org/name> [options]",
  arguments: positional,
  options,
  json: "events",
  examples: `
Examples:
  mos push adapters/acme org/acme
  mos push adapters/acme org/acme --private --revision v2
  mos push adapters/acme org/acme --base-model Qwen/Qwen3.5-0.8B

Only adapter_config.json, adapter_model.safetensors and README.md are uploaded, and only if they differ from the Hub's.
Without a README.md in the folder, a card is made from the adapter's settings and training record; one that the Hub has
stays. Needs a token with write access: HF_TOKEN, or the login of Hugging Face's own tools.`,
  run,
});

async function run(values: Values): Promise<void> {
  const { adapter, repository, revision, json } = values;
  const folder = await usableAdapter(adapter);
  const { files, baseModel } = await filesToPush(adapter, folder, values);
  const { hub } = await userPlaces();
  if (hub.offline) throw new MosError("bad_option", "network access is disabled by HF_HUB_OFFLINE");
  const silent = values.quiet || json;
  using interrupt = listenForInterrupt("stopping", { silent });
  const events = push(files, repository, {
    ...omitUndefined({ token: hub.token }),
    ...{ endpoint: hub.endpoint, revision, private: values.private, signal: interrupt.signal },
    uploadHosts: values.uploadHost ?? [],
    title: `Upload adapter of ${baseModel}`,
  });
  const finished = await watchEvents(events, { json, silent, show: showPush });
  if (finished === undefined || silent) return;
  const { url, commit, sent, unchanged } = finished;
  const name = revision === "main" ? repository : `${repository}@${revision}`;
  const rows: Row[] = [
    ["place", url],
    ["commit", commit === undefined ? "none: nothing has changed" : `${commit.slice(0, 12)} on ${revision}`],
    ["files", `${counted(sent.length, "file")} uploaded, ${unchanged.length} unchanged`],
  ];
  printLine(resultText(rows, [`${MOS} generate --model ${baseModel} --adapter ${name} --chat`]));
}

/** The adapter's two files and its card. */
async function filesToPush(
  given: string,
  folder: string,
  { repository, baseModel: named }: Pick<Values, "repository" | "baseModel">,
): Promise<{ readonly files: Parameters<typeof push>[0]; readonly baseModel: string }> {
  await using opened = await openAdapterFolder(folder);
  const description = await opened.describe();
  const recorded = description.base.name ?? "";
  const baseModel = named ?? recorded;
  if (!looksLikeRepository(baseModel))
    throw new MosError(
      "bad_option",
      `${given}: its base is recorded as ${JSON.stringify(baseModel)}, which is no repository of the Hub; pass --base-model org/name`,
    );
  const [config, tensors] = [join(folder, ADAPTER_CONFIG), join(folder, ADAPTER_TENSORS)];
  const card = join(given, CARD);
  const { size: bytes } = await stat(tensors);
  const content = { ...description, repository, baseModel, bytes, folder: given };
  return {
    baseModel,
    files: [
      { path: ADAPTER_CONFIG, content: baseModel === recorded ? config : await rebased(config, baseModel) },
      { path: ADAPTER_TENSORS, content: tensors },
      (await pathExists(card))
        ? { path: CARD, content: card }
        : { path: CARD, content: new TextEncoder().encode(await adapterCard(content)), isDefault: true },
    ],
  };
}

/** The settings of an adapter with another name of its base. */
async function rebased(path: string, baseModel: string): Promise<Uint8Array<ArrayBuffer>> {
  const text = new TextDecoder().decode(await readBytes(path, { code: "bad_adapter" }));
  const fields = { ...(JSON.parse(text) as object), base_model_name_or_path: baseModel };
  return new TextEncoder().encode(`${JSON.stringify(fields, null, 2)}\n`);
}

/** Draws how far each file is on a live line. */
function showPush(event: PushEvent, line: LiveLine): void {
  if (event.type === "created") line.print(`created ${event.repository}${event.private ? ", private" : ""}`);
  if (event.type !== "upload") return;
  const { path, size, share } = event;
  line.update([`${formatBar(share, 10)} ${Math.floor(share * 100)}%`, describeBytes(size), path]);
}

const SETTINGS = [
  "steps",
  "epochs",
  "batchSize",
  "gradientAccumulationSteps",
  "learningRate",
  "maxLength",
  "seed",
];

/** An adapter with its repository, its base on the hub, the bytes of its tensors, and the folder of its run. */
type CardContent = AdapterDescription &
  Readonly<Record<"repository" | "baseModel" | "folder", string> & Record<"bytes", number>>;

/** The text of README.md: metadata that the hub reads, the adapter's settings, and the record of its training. */
async function adapterCard(content: CardContent): Promise<string> {
  const { repository, baseModel, config, parameters, bytes, folder } = content;
  const isLora = config.method === "lora";
  const rows = [
    ["Base model", `[${baseModel}](https://huggingface.co/${baseModel})`],
    ["Method", adapterText(config)],
    ["Trained modules", config.targets.join(", ")],
    ["Parameters", formatInteger(parameters)],
    ["Size", describeBytes(bytes)],
    ...(await trainingRows(folder)),
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

# ${repository.split("/").at(-1)}

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

async function trainingRows(folder: string): Promise<readonly Row[]> {
  if (!(await pathExists(join(folder, RUN_FILES.record)))) return [];
  const { settings, computeDtype } = await readRecord(folder);
  const rows = SETTINGS.flatMap((name): readonly Row[] => {
    const words = flagName(name).replaceAll("-", " ");
    const value = settings[name];
    return typeof value === "number"
      ? [[words.replace(/^./, (letter) => letter.toUpperCase()), String(value)]]
      : [];
  });
  let best = Number.POSITIVE_INFINITY;
  for await (const { measurement } of readMeasurements(folder))
    if (measurement.type === "evaluation") best = Math.min(measurement.loss, best);
  const loss: readonly Row[] = Number.isFinite(best) ? [["Validation loss", best.toFixed(4)]] : [];
  return [...rows, ["Base computed in", computeDtype], ...loss];
}
