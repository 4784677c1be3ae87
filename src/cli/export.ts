import { type ExportSummary, exportAdapter, type LoraSummary } from "#recipes";
import { findModel } from "./base-model.ts";
import type { ExportOptions } from "./export-command.ts";
import { listenForInterrupt } from "./interrupt.ts";
import { formatBar } from "./progress.ts";
import { counted, labelled, liveLine, sayJson, sayLine, shellWord, shown } from "./terminal.ts";

export async function runExport(adapter: string, options: ExportOptions): Promise<void> {
  using interrupt = listenForInterrupt();
  const summary = await withReadingLine(options, async (onProgress) => {
    const model = await findModel(options.model, { signal: interrupt.signal, silent: options.json === true });
    const { format, out, dtype, overwrite } = options;
    return exportAdapter({
      adapter,
      model,
      format,
      out,
      dtype,
      overwrite,
      onProgress,
      signal: interrupt.signal,
    });
  });
  if (options.json === true) sayJson(summary);
  else sayLine(exportText(summary));
}

type OnProgress = (progress: { readonly done: number; readonly total: number }) => void;

/** Runs work that reads a base, with a line on stderr where that takes a while. */
export async function withReadingLine<T>(
  { json }: { readonly json?: boolean },
  work: (onProgress: OnProgress) => Promise<T>,
): Promise<T> {
  const started = performance.now();
  using line = liveLine({ silent: json === true || process.stderr.isTTY !== true });
  return await work(({ done, total }) => {
    if (performance.now() - started > 500)
      line.update(`reading the base ${formatBar(done / total, 24)} ${done} of ${total} weights`);
  });
}

/** "rank 8, alpha 16; on q, k, v". */
export const loraText = ({ rank, alpha, targets }: LoraSummary): string =>
  `rank ${rank}, alpha ${Number(alpha.toPrecision(6))}; on ${targets.map((name) => name.replace(/_proj$/, "")).join(", ")}`;

function exportText(summary: ExportSummary): string {
  const { out, format, dtype, method, sites, baseName } = summary;
  return [
    labelled([
      ["adapter", `${method}, as LoRA of ${loraText(summary)}`],
      ["written", `${out}: factors of ${counted(sites, "linear layer")} in ${dtype}`],
      ["base", shown(baseName)],
    ]),
    "",
    format === "peft" ? "With PEFT:" : "With llama.cpp, on the same base as GGUF:",
    format === "peft"
      ? `  model = PeftModel.from_pretrained(base, ${JSON.stringify(out)})`
      : `  llama-cli --model base.gguf --lora ${shellWord(out)}`,
  ].join("\n");
}
