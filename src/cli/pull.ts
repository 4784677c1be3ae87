import { homedir } from "node:os";
import { join } from "node:path";
import { type HubSettings, hubAssetsFolder, hubSettings, type PulledModel, pull } from "#hub";
import { listenForInterrupt } from "./interrupt.ts";
import { given } from "./option-values.ts";
import { formatBytes } from "./progress.ts";
import type { PullOptions } from "./pull-command.ts";
import { pullProgress } from "./pull-progress.ts";
import { counted, labelled, liveLine, MOS, sayJson, sayLine, shellWord } from "./terminal.ts";

/** The hub as the user's environment has it. */
export const hubOfUser = (): Promise<HubSettings> => hubSettings(process.env, homedir());

/** Where benchmarks are kept that were fetched from the hub. */
export const benchmarksOfUser = (): string => join(hubAssetsFolder(process.env, homedir()), "benchmarks");

export async function runPull(repository: string, options: PullOptions): Promise<void> {
  const settings = await hubOfUser();
  const silent = options.quiet === true || options.json === true;
  using interrupt = listenForInterrupt();
  const done = await (async (): Promise<PulledModel | undefined> => {
    using line = liveLine({ silent });
    const show = pullProgress(line, () => performance.now());
    const events = pull(repository, {
      ...settings,
      ...given({ cacheFolder: options.cache, include: options.include }),
      signal: interrupt.signal,
    });
    for await (const event of events) {
      if (options.json === true) sayJson(event);
      show(event);
      if (event.type === "done") return event.model;
    }
    return undefined;
  })();
  if (done !== undefined && !silent) sayLine(pulledText(done, { repository, cache: options.cache }));
}

/** Where the model is, and what to do with it. */
export function pulledText(
  model: PulledModel,
  { repository, cache }: { readonly repository: string; readonly cache: string | undefined },
): string {
  // with the usual cache the name is enough, as every command looks there
  const name = shellWord(cache === undefined ? repository : model.path);
  return [
    labelled([
      ["model", `${model.repository} at ${model.commit.slice(0, 12)} (${model.revision})`],
      ["files", `${counted(model.files.length, "file")}, ${formatBytes(model.bytes)}`],
      ["place", model.path],
    ]),
    "",
    "Next:",
    `  ${MOS} generate --model ${name} --chat`,
    `  ${MOS} train --model ${name} --data train.jsonl --out adapters/mine`,
  ].join("\n");
}
