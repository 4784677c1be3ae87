import { rm } from "node:fs/promises";
import { join } from "node:path";
import { loadAdapter } from "mixture-of-shards-core/adapters";
import { flag, MosError, omitUndefined, parseSettings, setting } from "mixture-of-shards-core/common";
import {
  addToManifest,
  baseFile,
  type ChatFacts,
  chatFacts,
  describeExport,
  type ExportSummary,
  exportAdapter,
  exportSettings,
  importAdapter,
} from "mixture-of-shards-core/convert";
import { readDataset } from "mixture-of-shards-core/data";
import { makeTemporaryFolder } from "mixture-of-shards-core/files";
import { loadModel, toBaseShapes } from "mixture-of-shards-core/models";
import { finetuneSettings, validationLoss } from "mixture-of-shards-core/training";
import { z } from "zod";
import { defineCommand, group } from "./command.ts";
import { adapterFolder, base } from "./common-options.ts";
import { commandText, counted, labelled } from "./format.ts";
import { listenForInterrupt } from "./interrupt.ts";
import { findModel, usableAdapter, withReadingLine } from "./loading.ts";
import { ALIKE, chatRows, formatShare, loraText, ollamaCreate, trainedOnRow } from "./model-text.ts";
import { heading, printable, printResult, shellWord } from "./terminal.ts";

const options = {
  ...group("Model", { model: base }),
  ...group("Output", {
    format: exportSettings.format,
    out: setting(z.string(), { required: true, placeholder: "path", help: "output folder or file" }),
    dtype: exportSettings.dtype,
    maxRank: exportSettings.maxRank,
    baseName: exportSettings.baseName,
    manifest: setting(z.string(), {
      placeholder: "file",
      help: "with peft, add the adapter to this list, from which objects of vLLM, KServe and others are made",
    }),
    overwrite: flag({ help: "replace an existing --out" }),
  }),
  ...group("Check", {
    data: setting(z.string(), {
      placeholder: "file",
      help: "examples whose loss is measured with the adapter and with what was written",
    }),
  }),
};

export const command = defineCommand({
  description: "Writes an adapter of any method as a plain LoRA: for Hugging Face PEFT, or for llama.cpp.",
  usage: "<adapter> --model <model> --format <peft|gguf> --out <path> [options]",
  arguments: { adapter: adapterFolder },
  options,
  examples: `
Examples:
  mos export adapters/acme --model org/name --format peft --out acme-peft
      a folder for PEFT (PeftModel.from_pretrained), vLLM, LoRAX and others
  mos export adapters/acme --model org/name --format gguf --out acme.gguf --dtype float16
      a file for llama.cpp: llama-cli --model base.gguf --lora acme.gguf --jinja

  mos export adapters/acme --model org/name --format peft --out acme-peft --max-rank 8 --data test.jsonl
      for a server of ranks up to 8, with what that costs

The conversion is exact for every method, since routing does not depend on the input; float16, bfloat16 and a lower rank
round.`,
  async run({ adapter: folder, model, json, verbose: _, data, manifest, ...output }) {
    if (manifest !== undefined && output.format !== "peft")
      throw new MosError("bad_option", "--manifest requires --format peft");
    using interrupt = listenForInterrupt("stopping", { silent: json });
    const { signal } = interrupt;
    const adapter = await usableAdapter(folder);
    const path = await findModel(model, { signal, silent: json });
    const summary = await withReadingLine({ json }, (onProgress) =>
      exportAdapter({ ...output, adapter, model: path, onProgress, signal }),
    );
    if (manifest !== undefined) await addToManifest(manifest, await describeExport(summary.out));
    const loss =
      data === undefined ? undefined : await compareLosses(summary, { adapter, model: path, data, signal });
    const chat = await chatFacts(path);
    printResult(json, { ...summary, ...omitUndefined({ chat, loss }) }, () =>
      exportText({ ...summary, ...omitUndefined({ loss }) }, path, chat),
    );
  },
});

interface Losses {
  readonly before: number;
  readonly after: number;
}

/** The loss with the adapter, and with what was written, which is read again. */
async function compareLosses(
  { out, format }: ExportSummary,
  {
    adapter,
    model,
    data,
    signal,
  }: {
    readonly adapter: string;
    readonly model: string;
    readonly data: string;
    readonly signal: AbortSignal;
  },
): Promise<Losses> {
  const { examples } = await readDataset(data, { kind: "examples" });
  const loaded = await loadModel(model, { computeDtype: "float32", signal });
  const { config, fingerprint } = loaded.model;
  const settings = {
    ...parseSettings(finetuneSettings, {}),
    batchSize: 4,
    maxLength: Math.min(1024, config.maxPositions),
  };
  const measure = async (folder: string): Promise<number> => {
    const read = await loadAdapter(folder, { shapes: toBaseShapes(loaded.model), fingerprint });
    return (await validationLoss(loaded, examples, { adapter: read, settings, signal })).loss;
  };
  const folder = await makeTemporaryFolder("mos-exported-");
  try {
    const back = join(folder, "adapter");
    await importAdapter({ folder: out, from: format, model, out: back, signal });
    return { before: await measure(adapter), after: await measure(back) };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** How much a lower rank loses: of all modules with one, and of that which loses most. */
function loweredText({ error, modules }: NonNullable<ExportSummary["lowered"]>): string {
  const shares = Object.entries(modules).sort(([, a], [, b]) => b - a);
  const [most = ["", 0]] = shares;
  const where = counted(shares.length, "lowered module");
  return `${formatShare(error)} of the update of ${where} is lost, by its norm; at most ${formatShare(most[1])}, in ${most[0]}`;
}

const lossText = ({ before, after }: Losses): string =>
  `${before.toFixed(4)} with the adapter, ${after.toFixed(4)} with what was written`;

function exportText(
  summary: ExportSummary & { readonly loss?: Losses },
  model: string,
  chat: ChatFacts | undefined,
): string {
  const { out, format, dtype, method, layers, baseName, lowered, loss, modelfile } = summary;
  return [
    labelled([
      ["adapter", `${method}, as LoRA of ${loraText(summary)}`],
      ["written", `${out}: factors of ${counted(layers, "linear layer")} in ${dtype}`],
      modelfile !== undefined && [
        "for Ollama",
        `${modelfile}${chat?.template == null ? ", without the chat template, which Ollama's language cannot say" : ""}`,
      ],
      ["base", printable(baseName)],
      lowered !== undefined && ["lower rank", loweredText(lowered)],
      loss !== undefined && ["loss", lossText(loss)],
      ...trainedOnRow(summary),
      ...chatRows(chat),
    ]),
    "",
    ...(format === "peft"
      ? [heading("With PEFT:"), `  model = PeftModel.from_pretrained(base, ${JSON.stringify(out)})`]
      : [
          heading("With llama.cpp, on the same base as GGUF, by its chat template:"),
          commandText(`llama-cli --model ${shellWord(baseFile(model))} --lora ${shellWord(out)} ${ALIKE}`),
          heading("With Ollama:"),
          commandText(ollamaCreate(modelfile ?? "")),
        ]),
  ].join("\n");
}
