import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import { readAdapterBase } from "mixture-of-shards-core/adapters";
import { describeBytes, MosError, omitUndefined, setting } from "mixture-of-shards-core/common";
import { pathExists, writeFolderAtomic } from "mixture-of-shards-core/files";
import { looksLikeRepository, type PulledModel, pull } from "mixture-of-shards-core/hub";
import { z } from "zod";
import { defineCommand, group } from "./command.ts";
import { quiet } from "./common-options.ts";
import { counted } from "./format.ts";
import { listenForInterrupt } from "./interrupt.ts";
import { pullProgress, userPlaces } from "./loading.ts";
import { MOS, printLine, resultText, shellWord, watchEvents } from "./terminal.ts";

const options = group("Output", {
  cache: setting(z.string(), { placeholder: "folder", help: "cache folder (default: Hugging Face's)" }),
  out: setting(z.string(), { placeholder: "folder", help: "also copy an adapter into this folder" }),
  include: setting(z.array(z.string()).readonly(), {
    placeholder: "pattern",
    help: "files to download, such as *Q4_K_M.gguf; repeatable",
  }),
  quiet,
});

export const command = defineCommand({
  description:
    "Downloads a model or an adapter from the Hugging Face Hub into the local cache and verifies its checksums.",
  arguments: { model: setting(z.string(), { required: true, help: "org/name[@revision][:file.gguf]" }) },
  options,
  json: "events",
  examples: `
Examples:
  mos pull Qwen/Qwen3.5-0.8B                  see mos params --list-presets for others
  mos pull org/name@v1.0                      a branch, a tag or a commit
  mos pull org/name:name.Q4_K_M.gguf          one of several GGUF files
  mos pull org/adapter --out adapters/acme    an adapter, saved by mos push or PEFT, for mos serve

Interrupted downloads resume. Only config files, safetensors and GGUF are downloaded, never code.
The cache is shared with Hugging Face's own tools. Environment: HF_TOKEN for gated models, HF_HOME or
HF_HUB_CACHE for the cache folder, HF_ENDPOINT for a mirror.`,
  async run({ model: repository, cache, out, include, quiet, json }) {
    if (out !== undefined && (await pathExists(out)))
      throw new MosError("bad_option", `--out ${out} exists; choose a new folder`);
    const { hub } = await userPlaces();
    const silent = quiet || json;
    using interrupt = listenForInterrupt("stopping; the same command resumes", { silent });
    const { signal } = interrupt;
    const events = pull(repository, { ...hub, ...omitUndefined({ cacheFolder: cache, include }), signal });
    const show = pullProgress(() => performance.now());
    const { model } = (await watchEvents(events, { json, silent, show })) ?? {};
    if (model !== undefined && out !== undefined) await copyAdapter(model, out);
    if (model !== undefined && !silent)
      printLine(pulledText(model, { repository, cache, out, base: await baseName(model) }));
  },
});

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

/** The repository, the folders that were named, and the base of an adapter on the Hub. */
interface PulledNames extends Partial<Readonly<Record<"cache" | "out" | "base", string | undefined>>> {
  readonly repository: string;
}

/** Path of the model or adapter, and the next commands. */
export function pulledText(
  model: PulledModel,
  { repository, cache, out, base = "org/base" }: PulledNames,
): string {
  // with the usual cache the name is enough, as every command looks there
  const name = shellWord(out ?? (cache === undefined ? repository : model.path));
  const { kind, path, commit, revision, files, bytes } = model;
  return resultText(
    [
      [kind, `${model.repository} at ${commit.slice(0, 12)} (${revision})`],
      ["files", `${counted(files.length, "file")}, ${describeBytes(bytes)}`],
      ["place", out ?? path],
    ],
    kind === "adapter"
      ? [`${MOS} generate --model ${shellWord(base)} --adapter ${name} --chat`]
      : [
          `${MOS} generate --model ${name} --chat`,
          `${MOS} train --model ${name} --data train.jsonl --out adapters/mine`,
        ],
  );
}
