import { cacheEntry, describeModel, type PulledModel } from "./cache.ts";
import { type ConnectionOptions, connect } from "./connection.ts";
import { failureOf, subjectOf } from "./failure.ts";
import { listRepository } from "./listing.ts";
import { parseRepository } from "./repository.ts";
import { selectFiles } from "./select.ts";
import { type TransferEvent, transfer } from "./transfer.ts";

/** What happens during a pull. */
export type PullEvent = TransferEvent | { readonly type: "done"; readonly model: PulledModel };

export interface PullOptions extends ConnectionOptions {
  /** The hub cache, as Python lays it out: see `hubSettings`. */
  readonly cacheFolder: string;
  /** Where the repository is written without `@revision`. */
  readonly revision?: string;
  /** File names to take instead of the default choice; `*` stands for anything but a slash. */
  readonly include?: readonly string[];
  /** Free bytes on the disk of a folder. */
  readonly freeBytes?: (folder: string) => Promise<number>;
}

/**
 * Downloads a model of the Hugging Face Hub into the cache: only settings, safetensors and GGUF, each checked
 * against the hub's digest. What an interrupted run has downloaded is used; `break` and the signal stop it.
 *
 * @param repository `org/name[@revision][:file.gguf]`.
 * @throws MosError `bad_option`, `not_found`, `unsupported`, `bad_model`, `network`, `storage`, `cancelled`.
 * @example
 * const settings = await hubSettings(process.env, os.homedir());
 * for await (const event of pull("HuggingFaceTB/SmolLM2-135M-Instruct", settings)) {
 *   if (event.type === "done") console.log(event.model.path);
 * }
 */
export async function* pull(
  repository: string,
  options: PullOptions,
): AsyncGenerator<PullEvent, PulledModel> {
  const wanted = parseRepository(repository, options.revision);
  const connection = connect(options);
  const subject = subjectOf(wanted, connection);
  const { commit, files: listed } = await listRepository(connection, wanted);
  const selection = selectFiles(listed, wanted, options.include);
  const entry = cacheEntry(options.cacheFolder, wanted.name);
  const { files } = selection;
  try {
    yield* transfer(connection, { subject, entry, commit, files, freeBytes: options.freeBytes });
    const model = describeModel(wanted, { entry, commit, selection });
    yield { type: "done", model };
    return model;
  } catch (error) {
    throw failureOf(error, subject, connection.signal).error;
  }
}
