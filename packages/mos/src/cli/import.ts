import { flag, type SettingValues, setting } from "mixture-of-shards-core/common";
import { type ImportSummary, importAdapter, importSettings } from "mixture-of-shards-core/convert";
import { z } from "zod";
import { defineCommand, group } from "./command.ts";
import { base } from "./common-options.ts";
import { counted, labelled } from "./format.ts";
import { listenForInterrupt } from "./interrupt.ts";
import { findModel, withReadingLine } from "./loading.ts";
import { loraText, trainedOnRow } from "./model-text.ts";
import { MOS, nextText, printable, printJson, printLine, shellWord } from "./terminal.ts";

const folder = setting(z.string(), {
  required: true,
  help: "folder with adapter_config.json and adapter_model.safetensors",
});

const options = {
  ...group("Model", { model: base, from: importSettings.from }),
  ...group("Output", {
    out: setting(z.string(), { required: true, placeholder: "folder", help: "output folder" }),
    overwrite: flag({ help: "replace an existing adapter in --out" }),
  }),
};
type Values = SettingValues<typeof options> & { readonly folder: string; readonly json: boolean };

export const command = defineCommand({
  description: "Imports a LoRA saved by Hugging Face PEFT and checks it against its base.",
  usage: "<folder> --model <model> --out <folder> [options]",
  arguments: { folder },
  options,
  examples: `
Examples:
  mos import peft-lora --model org/name --out adapters/acme
  mos generate --model org/name --adapter adapters/acme --chat
  mos import official-run --from mos-official --model org/name --out adapters/acme
      an adapter saved by the MoS authors' code, as adapter_model.safetensors

rank_pattern, alpha_pattern, use_rslora, layers_to_transform and any target_modules are supported: lower ranks are padded
with zeros and scales are folded into B. Anything but a plain LoRA (DoRA, saved modules, PiSSA …) is refused.`,
  run,
});

async function run({ folder, model, from, out, overwrite, json }: Values): Promise<void> {
  using interrupt = listenForInterrupt("stopping", { silent: json });
  const { signal } = interrupt;
  const summary = await withReadingLine({ json }, async (onProgress) => {
    const path = await findModel(model, { signal, silent: json });
    return importAdapter({ folder, model: path, from, out, overwrite, onProgress, signal });
  });
  if (json) printJson(summary);
  else printLine(importText(summary, model));
}

function importText(summary: ImportSummary, model: string): string {
  const { out, layers, baseName, padded, folded, absent } = summary;
  const rows: (readonly [string, string])[] = [
    ["adapter", `lora: ${loraText(summary)}`],
    ["written", `${out}: factors of ${counted(layers, "linear layer")}`],
    ["base", printable(baseName)],
    ...trainedOnRow(summary),
  ];
  if (padded.length > 0)
    rows.push(["ranks", `${counted(padded.length, "linear layer")} of lower rank padded with zeros`]);
  if (folded.length > 0)
    rows.push(["scales", `${counted(folded.length, "linear layer")} of another scale, folded into B`]);
  if (absent.length > 0)
    rows.push(["left out", `${counted(absent.length, "linear layer")} of these types not adapted`]);
  return [
    labelled(rows),
    "",
    nextText([`${MOS} generate --model ${shellWord(model)} --adapter ${shellWord(out)} --chat`]),
  ].join("\n");
}
