import { type ImportSummary, importAdapter } from "#recipes";
import { findModel } from "./base-model.ts";
import { loraText, withReadingLine } from "./export.ts";
import type { ImportOptions } from "./import-command.ts";
import { listenForInterrupt } from "./interrupt.ts";
import { counted, labelled, MOS, sayJson, sayLine, shellWord, shown } from "./terminal.ts";

export async function runImport(folder: string, options: ImportOptions): Promise<void> {
  using interrupt = listenForInterrupt();
  const summary = await withReadingLine(options, async (onProgress) => {
    const model = await findModel(options.model, { signal: interrupt.signal, silent: options.json === true });
    const { from, out, overwrite } = options;
    return importAdapter({ folder, model, from, out, overwrite, onProgress, signal: interrupt.signal });
  });
  if (options.json === true) sayJson(summary);
  else sayLine(importText(summary, options));
}

function importText(summary: ImportSummary, { model }: ImportOptions): string {
  const { out, sites, baseName, padded, folded, absent } = summary;
  const rows: (readonly [string, string])[] = [
    ["adapter", `lora: ${loraText(summary)}`],
    ["written", `${out}: factors of ${counted(sites, "linear layer")}`],
    ["base", shown(baseName)],
  ];
  if (padded.length > 0)
    rows.push(["ranks", `${counted(padded.length, "linear layer")} of lower rank filled up with zeros`]);
  if (folded.length > 0)
    rows.push(["scales", `${counted(folded.length, "linear layer")} of another scale, multiplied into B`]);
  if (absent.length > 0)
    rows.push(["left out", `${counted(absent.length, "linear layer")} of these types stay as in the base`]);
  return [
    labelled(rows),
    "",
    "Next:",
    `  ${MOS} generate --model ${shellWord(model)} --adapter ${shellWord(out)} --chat`,
  ].join("\n");
}
