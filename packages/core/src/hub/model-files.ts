// The files of a model on the hub, before any of them is downloaded.
import type { Connection } from "./connection.ts";
import { fileUrl, toResource } from "./failure.ts";
import { type HubFile, listRepository } from "./listing.ts";
import { parseRepository } from "./repository.ts";
import { type Selection, selectFiles } from "./select.ts";

/** A model's files on the hub, at one commit. */
export interface HubModel {
  readonly commit: string;
  readonly selection: Selection<HubFile>;
  /** The address of one of them. */
  readonly urlOf: (path: string) => string;
}

/**
 * Finds the files that make up a model: those of `pull`.
 *
 * @param repository `org/name[@revision][:file.gguf]`.
 * @throws MosError `bad_option`, `not_found`, `unsupported`, `bad_model`, `network`, `cancelled`.
 */
export async function findModelFiles(
  connection: Connection,
  repository: string,
  {
    revision,
    include,
  }: { readonly revision?: string | undefined; readonly include?: readonly string[] | undefined } = {},
): Promise<HubModel> {
  const wanted = parseRepository(repository, revision);
  const { commit, files } = await listRepository(connection, wanted);
  const resource = toResource(wanted, connection);
  return {
    commit,
    selection: selectFiles(files, wanted, include),
    urlOf: (path) => fileUrl(resource, commit, path),
  };
}
