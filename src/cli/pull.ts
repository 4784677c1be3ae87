import { describeBytes, omitUndefined, type SettingValues, text, texts } from "#core";
import { type PulledModel, pull } from "#hub";
import { defineCommand, group } from "./command.ts";
import { quiet } from "./common-options.ts";
import { counted, labelled } from "./format.ts";
import { listenForInterrupt } from "./interrupt.ts";
import { pullProgress, userPlaces } from "./loading.ts";
import { liveLine, MOS, nextText, printJson, printLine, shellWord } from "./terminal.ts";

const repository = text({ required: true, help: "org/name[@revision][:file.gguf]" });

const options = group("Output", {
  cache: text({ placeholder: "folder", help: "cache folder (default: Hugging Face's)" }),
  include: texts({ placeholder: "pattern", help: "files to download, such as *Q4_K_M.gguf; repeatable" }),
  quiet,
});
type Values = SettingValues<typeof options> & { readonly model: string; readonly json: boolean };

export const command = defineCommand({
  description: "Downloads a model from the Hugging Face Hub into the local cache and verifies its checksums.",
  arguments: { model: repository },
  options,
  json: "events",
  examples: `
Examples:
  mos pull HuggingFaceTB/SmolLM2-135M-Instruct
  mos pull org/name@v1.0                      a branch, a tag or a commit
  mos pull org/name:name.Q4_K_M.gguf          one of several GGUF files

Interrupted downloads resume. Only config files, safetensors and GGUF are downloaded, never code.
The cache is shared with Hugging Face's own tools. Environment: HF_TOKEN for gated models, HF_HOME or
HF_HUB_CACHE for the cache folder, HF_ENDPOINT for a mirror.`,
  run,
});

async function run({ model: repository, ...options }: Values): Promise<void> {
  const { hub } = await userPlaces();
  const silent = options.quiet || options.json;
  using interrupt = listenForInterrupt("stopping; the same command resumes", { silent });
  const done = await (async (): Promise<PulledModel | undefined> => {
    using line = liveLine({ silent });
    const show = pullProgress(line, () => performance.now());
    const events = pull(repository, {
      ...hub,
      ...omitUndefined({ cacheFolder: options.cache, include: options.include }),
      signal: interrupt.signal,
    });
    for await (const event of events) {
      if (options.json) printJson(event);
      show(event);
      if (event.type === "finish") return event.model;
    }
    return undefined;
  })();
  if (done !== undefined && !silent) printLine(pulledText(done, { repository, cache: options.cache }));
}

/** Path of the model, and the next commands. */
export function pulledText(
  model: PulledModel,
  { repository, cache }: { readonly repository: string; readonly cache: string | undefined },
): string {
  // with the usual cache the name is enough, as every command looks there
  const name = shellWord(cache === undefined ? repository : model.path);
  return [
    labelled([
      ["model", `${model.repository} at ${model.commit.slice(0, 12)} (${model.revision})`],
      ["files", `${counted(model.files.length, "file")}, ${describeBytes(model.bytes)}`],
      ["place", model.path],
    ]),
    "",
    nextText([
      `${MOS} generate --model ${name} --chat`,
      `${MOS} train --model ${name} --data train.jsonl --out adapters/mine`,
    ]),
  ].join("\n");
}
