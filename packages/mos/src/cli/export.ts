import { resolve } from "node:path";
import { flag, omitUndefined, setting } from "mixture-of-shards-core/common";
import { type ExportSummary, exportAdapter, exportSettings } from "mixture-of-shards-core/convert";
import { z } from "zod";
import { defineCommand, group } from "./command.ts";
import { adapterFolder, base } from "./common-options.ts";
import { commandText, counted, labelled } from "./format.ts";
import { listenForInterrupt } from "./interrupt.ts";
import { findModel, usableAdapter, withReadingLine } from "./loading.ts";
import { ALIKE, type ChatFacts, chatFacts, chatRows, loraText, trainedOnRow } from "./model-text.ts";
import { heading, printable, printResult, shellWord } from "./terminal.ts";

const options = {
  ...group("Model", { model: base }),
  ...group("Output", {
    format: exportSettings.format,
    out: setting(z.string(), { required: true, placeholder: "path", help: "output folder or file" }),
    dtype: exportSettings.dtype,
    baseName: exportSettings.baseName,
    overwrite: flag({ help: "replace an existing --out" }),
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

The conversion is exact for every method, since routing does not depend on the input; float16 and bfloat16 round.`,
  async run({ adapter: folder, model, json, verbose: _, ...output }) {
    using interrupt = listenForInterrupt("stopping", { silent: json });
    const { signal } = interrupt;
    const adapter = await usableAdapter(folder);
    const path = await findModel(model, { signal, silent: json });
    const summary = await withReadingLine({ json }, (onProgress) =>
      exportAdapter({ ...output, adapter, model: path, onProgress, signal }),
    );
    const chat = await chatFacts(path);
    printResult(json, { ...summary, ...omitUndefined({ chat }) }, () => exportText(summary, path, chat));
  },
});

function exportText(summary: ExportSummary, model: string, chat: ChatFacts | undefined): string {
  const { out, format, dtype, method, layers, baseName } = summary;
  return [
    labelled([
      ["adapter", `${method}, as LoRA of ${loraText(summary)}`],
      ["written", `${out}: factors of ${counted(layers, "linear layer")} in ${dtype}`],
      ["base", printable(baseName)],
      ...trainedOnRow(summary),
      ...chatRows(chat),
    ]),
    "",
    ...(format === "peft"
      ? [heading("With PEFT:"), `  model = PeftModel.from_pretrained(base, ${JSON.stringify(out)})`]
      : ggufUse(out, model, chat)),
  ].join("\n");
}

/** The ways to use an adapter for llama.cpp, with its base if that is a GGUF file. */
function ggufUse(out: string, model: string, chat: ChatFacts | undefined): readonly string[] {
  const base = model.toLowerCase().endsWith(".gguf") ? resolve(model) : "./base.gguf";
  return [
    heading("With llama.cpp, on the same base as GGUF, by its chat template:"),
    commandText(`llama-cli --model ${shellWord(base)} --lora ${shellWord(out)} ${ALIKE}`),
    heading("With Ollama, by the lines of a Modelfile:"),
    `  FROM ${base}`,
    `  ADAPTER ${resolve(out)}`,
    // quotes have no escape there: a message that could end them is not written
    ...(chat?.system == null || /"""|"$/.test(chat.system)
      ? []
      : [`  SYSTEM """${printable(chat.system)}"""`]),
    ...(chat?.stops ?? []).map((stop) => `  PARAMETER stop ${printable(JSON.stringify(stop))}`),
    "  PARAMETER temperature 0",
  ];
}
