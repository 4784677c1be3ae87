import { flag, setting } from "mixture-of-shards-core/common";
import { type ImportSummary, importAdapter, importSettings } from "mixture-of-shards-core/convert";
import { z } from "zod";
import { defineCommand, group } from "./command.ts";
import { base } from "./common-options.ts";
import { counted, type Row } from "./format.ts";
import { listenForInterrupt } from "./interrupt.ts";
import { findModel, withReadingLine } from "./loading.ts";
import { loraText, trainedOnRow } from "./model-text.ts";
import { MOS, printable, printResult, resultText, shellWord } from "./terminal.ts";

const folder = setting(z.string(), {
  required: true,
  help: "folder with adapter_config.json and adapter_model.safetensors, or a GGUF file",
});

const options = {
  ...group("Model", { model: base, from: importSettings.from }),
  ...group("Output", {
    out: setting(z.string(), { required: true, placeholder: "folder", help: "output folder" }),
    overwrite: flag({ help: "replace an existing adapter in --out" }),
  }),
};

export const command = defineCommand({
  description: "Imports a LoRA of Hugging Face PEFT or llama.cpp and checks it against its base.",
  usage: "<folder> --model <model> --out <folder> [options]",
  arguments: { folder },
  options,
  examples: `
Examples:
  mos import peft-lora --model org/name --out adapters/acme
  mos generate --model org/name --adapter adapters/acme --chat
  mos import official-run --from mos-official --model org/name --out adapters/acme
      an adapter saved by the MoS authors' code, as adapter_model.safetensors
  mos import acme.gguf --from gguf --model base.gguf --out adapters/acme

rank_pattern, alpha_pattern, use_rslora, layers_to_transform and any target_modules are supported: lower ranks are padded
with zeros and scales are folded into B. Anything but a plain LoRA (DoRA, saved modules, PiSSA …) is refused.`,
  async run({ model, json, verbose: _, ...values }) {
    using interrupt = listenForInterrupt("stopping", { silent: json });
    const { signal } = interrupt;
    const summary = await withReadingLine({ json }, async (onProgress) => {
      const path = await findModel(model, { signal, silent: json });
      return importAdapter({ ...values, model: path, onProgress, signal });
    });
    printResult(json, summary, () => importText(summary, model));
  },
});

function importText(summary: ImportSummary, model: string): string {
  const { out, layers, baseName, padded, folded, absent } = summary;
  const some = (label: string, types: readonly unknown[], what: string): Row | false =>
    types.length > 0 && [label, `${counted(types.length, "linear layer")} ${what}`];
  return resultText(
    [
      ["adapter", `lora: ${loraText(summary)}`],
      ["written", `${out}: factors of ${counted(layers, "linear layer")}`],
      ["base", printable(baseName)],
      ...trainedOnRow(summary),
      some("ranks", padded, "of lower rank padded with zeros"),
      some("scales", folded, "of another scale, folded into B"),
      some("left out", absent, "of these types not adapted"),
    ],
    [`${MOS} generate --model ${shellWord(model)} --adapter ${shellWord(out)} --chat`],
  );
}
