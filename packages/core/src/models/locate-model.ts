// From a model's name to its folder or file: a local path, the hub's cache, or the hub.
import { z } from "zod";
import { checkKind, MosError, withProgress } from "#common";
import { pathExists } from "#files";
import {
  type HubOptions,
  type HubSettings,
  looksLikeRepository,
  type PulledModel,
  pull,
  repositoryAt,
  resolveCached,
  type TransferEvent,
  withHubDefaults,
} from "#hub";

/** Options of finding a model's files. */
export interface LocateOptions {
  /** Hub to look up `org/name`. */
  readonly hub?: HubOptions | undefined;
  /** Stops what has not ended; a download goes on from there the next time. */
  readonly signal?: AbortSignal | undefined;
}

/** Files that are sufficient. */
interface WantedFiles {
  /** File names of a repository to take instead of the model; `*` stands for anything but a slash. */
  readonly include?: readonly string[] | undefined;
  /** What a repository has to hold ("model"). */
  readonly kind?: "model" | "adapter" | undefined;
}

/** The same where no events are given: a download calls a function. */
export interface LocateCalls extends LocateOptions {
  /** Called with what happens while files are downloaded from the hub. */
  readonly onDownload?: ((transfer: TransferEvent) => void) | undefined;
}

/** Something happens while files are downloaded from the hub. @inline */
export interface DownloadEvent {
  readonly type: "download";
  readonly transfer: TransferEvent;
}

/**
 * Finds the folder or GGUF file of a model: a local path as it is, `org/name[@revision][:file.gguf]` or its address in the
 * cache or else on the hub. Gives the events of a download, and returns the path.
 *
 * @throws MosError `not_found`, and what a download throws: `bad_option`, `unsupported`, `bad_model`, `network`, `storage`,
 * `cancelled`.
 * @example
 * const found = locateModel("HuggingFaceTB/SmolLM2-135M-Instruct", { hub: { token: process.env.HF_TOKEN } });
 * let step = await found.next();
 * for (; !step.done; step = await found.next()) console.log(step.value.transfer);
 * console.log(step.value); // the path
 */
export async function* locateModel(
  given: string,
  { hub: settings, include, kind, signal }: LocateOptions & WantedFiles = {},
): AsyncGenerator<DownloadEvent, string> {
  checkKind("model", given, z.string());
  if (await pathExists(given)) return given;
  const hub = await withHubDefaults(settings);
  const model = repositoryAt(given, hub.endpoint);
  if (!looksLikeRepository(model))
    throw new MosError(
      "not_found",
      `${model}: no such folder or file; give a model folder, a .gguf file, or org/name of the Hugging Face Hub`,
    );
  const cached = await cachedPath(model, hub, { include, kind });
  if (cached !== undefined) return cached;
  if (hub.offline)
    throw new MosError(
      "not_found",
      `${model}: no such folder or file here; ${model} is not in the cache ${hub.cacheFolder}, and network access is disabled`,
    );
  try {
    for await (const transfer of pull(model, { ...hub, include, signal })) {
      if (transfer.type === "finish") return checkedPath(transfer.model, kind);
      yield { type: "download", transfer };
    }
  } catch (error) {
    throw error instanceof MosError && (error.code === "not_found" || error.code === "network")
      ? new MosError(error.code, `${model}: no such folder or file here; ${error.message}`, { cause: error })
      : error;
  }
  throw new MosError("network", `${model} could not be downloaded`);
}

/** Path of the whole model in the cache, or else of the files that suffice. */
async function cachedPath(
  model: string,
  hub: HubSettings,
  { include, kind }: WantedFiles,
): Promise<string | undefined> {
  const whole = await resolveCached(model, hub);
  if (whole !== undefined) return checkedPath(whole, kind);
  return include === undefined ? undefined : (await resolveCached(model, { ...hub, include }))?.path;
}

/** @throws MosError `bad_option` for an adapter in place of a model, and the other way round. */
function checkedPath(
  { kind, path, repository }: Pick<PulledModel, "kind" | "path" | "repository">,
  wanted: WantedFiles["kind"] = "model",
): string {
  if ((kind === "adapter") === (wanted === "adapter")) return path;
  throw new MosError(
    "bad_option",
    kind === "adapter"
      ? `${repository} is an adapter, not a model; give it as the adapter of its base`
      : `${repository} is a model, not an adapter; give it as the model`,
  );
}

/** The folder or file of a model, downloaded if it has to be. Throws as `locateModel`. */
export async function locatedPath(model: string, options: LocateCalls & WantedFiles = {}): Promise<string> {
  return await withProgress(locateModel(model, options), ({ transfer }) => options.onDownload?.(transfer));
}
