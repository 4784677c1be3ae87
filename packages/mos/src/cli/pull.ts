import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import { readAdapterBase } from "mixture-of-shards-core/adapters";
import {
  describeBytes,
  MosError,
  omitUndefined,
  type SettingValues,
  setting,
} from "mixture-of-shards-core/common";
import { pathExists, writeFolderAtomic } from "mixture-of-shards-core/files";
import { looksLikeRepository, type PulledModel, pull } from "mixture-of-shards-core/hub";
import { z } from "zod";
import { defineCommand, group } from "./command.ts";
import { quiet } from "./common-options.ts";
import { counted, labelled } from "./format.ts";
import { listenForInterrupt } from "./interrupt.ts";
import { pullProgress, userPlaces } from "./loading.ts";
import { liveLine, MOS, nextText, printJson, printLine, shellWord } from "./terminal.ts";

const repository = setting(z.string(), { required: true, help: "org/name[@revision][:file.gguf]" });

const options = group("Output", {
  cache: setting(z.string(), { placeholder: "folder", help: "cache folder (default: Hugging Face's)" }),
  out: setting(z.string(), { placeholder: "folder", help: "also copy an adapter into this folder" }),
  include: setting(z.array(z.string()).readonly(), {
    placeholder: "pattern",
    help: "files to download, such as *Q4_K_M.gguf; repeatable",
  }),
  quiet,
});
type Values = SettingValues<typeof options> & { readonly model: string; readonly json: boolean };

export const command = defineCommand({
  description:
    "Downloads a model or an adapter from the Hugging Face Hub into the local cache and verifies its checksums.",
  arguments: { model: repository },
  options,
  json: "events",
  examples: `
Examples:
  mos pull HuggingFaceTB/SmolLM2-135M-Instruct
  mos pull org/name@v1.0                      a branch, a tag or a commit
  mos pull org/name:name.Q4_K_M.gguf          one of several GGUF files
  mos pull org/adapter --out adapters/acme    an adapter, saved by mos push or PEFT, for mos serve

Interrupted downloads resume. Only config files, safetensors and GGUF are downloaded, never code.
The cache is shared with Hugging Face's own tools. Environment: HF_TOKEN for gated models, HF_HOME or
HF_HUB_CACHE for the cache folder, HF_ENDPOINT for a mirror.`,
  run,
});

async function run({ model: repository, ...options }: Values): Promise<void> {
  if (options.out !== undefined && (await pathExists(options.out)))
    throw new MosError("bad_option", `--out ${options.out} exists; choose a new folder`);
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
  if (done !== undefined && options.out !== undefined) await copyAdapter(done, options.out);
  if (done !== undefined && !silent)
    printLine(pulledText(done, { repository, ...options, base: await baseName(done) }));
}

/** Copies the files, so that the folder does not change with the cache. */
async function copyAdapter({ kind, path, files, repository }: PulledModel, out: string): Promise<void> {
  if (kind !== "adapter")
    throw new MosError(
      "bad_option",
      `${repository} is a model, which stays in the cache; --out is for adapters`,
    );
  await writeFolderAtomic(out, async (folder) => {
    for (const file of files) await copyFile(join(path, file.path), join(folder, file.path));
  });
}

/** The base that an adapter names, if it is one of the hub. */
async function baseName({ kind, path }: PulledModel): Promise<string | undefined> {
  if (kind !== "adapter") return undefined;
  const { name = "" } = await readAdapterBase(path);
  return looksLikeRepository(name) ? name : undefined;
}

/** Path of the model or adapter, and the next commands. */
export function pulledText(
  model: PulledModel,
  {
    repository,
    cache,
    out,
    base = "org/base",
  }: {
    readonly repository: string;
    readonly cache: string | undefined;
    readonly out?: string | undefined;
    /** Base of an adapter, on the Hub. */
    readonly base?: string | undefined;
  },
): string {
  // with the usual cache the name is enough, as every command looks there
  const name = shellWord(out ?? (cache === undefined ? repository : model.path));
  const isAdapter = model.kind === "adapter";
  return [
    labelled([
      [
        isAdapter ? "adapter" : "model",
        `${model.repository} at ${model.commit.slice(0, 12)} (${model.revision})`,
      ],
      ["files", `${counted(model.files.length, "file")}, ${describeBytes(model.bytes)}`],
      ["place", out ?? model.path],
    ]),
    "",
    nextText(
      isAdapter
        ? [`${MOS} generate --model ${shellWord(base)} --adapter ${name} --chat`]
        : [
            `${MOS} generate --model ${name} --chat`,
            `${MOS} train --model ${name} --data train.jsonl --out adapters/mine`,
          ],
    ),
  ].join("\n");
}
