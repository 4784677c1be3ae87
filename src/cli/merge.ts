import { type MergeEvent, mergeAdapter } from "#recipes";
import { findModel } from "./base-model.ts";
import { listenForInterrupt } from "./interrupt.ts";
import type { MergeOptions } from "./merge-command.ts";
import { given } from "./option-values.ts";
import { formatBar, formatBytes, formatDuration } from "./progress.ts";
import { counted, labelled, liveLine, MOS, nearPath, sayJson, sayLine, shellWord } from "./terminal.ts";

type Done = Extract<MergeEvent, { readonly type: "done" }>;

export async function runMerge(adapter: string, options: MergeOptions): Promise<void> {
  const { model, out, dtype, shardSize, quiet, json } = options;
  const silent = quiet === true || json === true;
  using interrupt = listenForInterrupt();
  const { signal } = interrupt;
  const path = await findModel(model, { signal, silent });
  const done = await (async (): Promise<Done | undefined> => {
    using line = liveLine({ silent });
    const show = progressText(() => performance.now());
    let last: Done | undefined;
    for await (const event of mergeAdapter({
      model: path,
      adapter,
      out,
      shardSize,
      signal,
      ...given({ dtype }),
    })) {
      if (json === true) sayJson(event);
      const text = show(event);
      if (text !== undefined) line.update(text);
      if (event.type === "done") last = event;
    }
    return last;
  })();
  if (done !== undefined && !silent) sayLine(mergedText(done, { adapter, model }));
}

/** What is quick needs no line. */
const QUICK = 500;

/** The live line: how much of the base was read, then how much was written. */
function progressText(now: () => number): (event: MergeEvent) => string | undefined {
  const begun = now();
  let startedAt: number | undefined;
  return (event) => {
    if (now() - begun < QUICK) return undefined;
    switch (event.type) {
      case "checking": {
        const share = event.done / event.total;
        return `checking the base ${formatBar(share, 24)} ${event.done} of ${event.total} weights`;
      }
      case "writing": {
        startedAt ??= now();
        const share = event.bytes / event.totalBytes;
        const seconds = (now() - startedAt) / 1000;
        const left = seconds < 1 ? "" : `  ${formatDuration(seconds * (1 / share - 1))} left`;
        return `${formatBar(share, 24)} ${formatBytes(event.bytes)} of ${formatBytes(event.totalBytes)}${left}  ${event.name}`;
      }
      default:
        return undefined;
    }
  };
}

function mergedText(
  { out, files, bytes, dtype }: Done,
  { adapter, model }: { readonly adapter: string; readonly model: string },
): string {
  const folder = shellWord(nearPath(out));
  return [
    labelled([
      ["merged", `${adapter} into ${model}`],
      ["weights", `${formatBytes(bytes)} of ${dtype} in ${counted(files.length, "file")}`],
      ["place", out],
    ]),
    "",
    "Next:",
    `  ${MOS} generate --model ${folder} --chat`,
  ].join("\n");
}
