// Exported adapters as other engines name them: one JSON list, from which their own objects are made.
import { z } from "zod";
import { ADAPTER_CONFIG, openAdapterFolder } from "#adapters";
import { pathExists, readJson, writeFileAtomic } from "#files";
import { basename, join, resolve } from "#platform";

/** What a server must know of an adapter to serve it. */
const entrySchema = z.object({
  /** Letters, digits and `. _ -` alone, as folders, Kubernetes and Ray Serve take them. */
  name: z.string(),
  /** Its folder. */
  uri: z.string(),
  /** That of its contents, which our own servers tell of an adapter, too. */
  digest: z.string(),
  /** The largest of a layer. */
  rank: z.int(),
  /** The name of the base, and the commit of it on the Hub; null where it is not from there. */
  base: z.string(),
  revision: z.string().nullable(),
});

/** An adapter in a manifest. */
export type ManifestEntry = z.output<typeof entrySchema>;

const configSchema = z.looseObject({
  r: z.int(),
  base_model_name_or_path: z.string(),
  revision: z.string().nullish(),
});

/** A name without what other engines reserve: `:` becomes `--`. */
export const plainName = (name: string): string => name.replaceAll(":", "--").replaceAll(/[^\w.-]/g, "-");

/** Describes a folder that `exportAdapter` has written in PEFT's format. Throws `bad_adapter`, `not_found`, `storage`. */
export async function describeExport(folder: string): Promise<ManifestEntry> {
  const config = await readJson(join(folder, ADAPTER_CONFIG), configSchema, { code: "bad_adapter" });
  await using opened = await openAdapterFolder(folder);
  return {
    name: plainName(basename(resolve(folder))),
    uri: `file://${resolve(folder)}`,
    digest: await opened.digest(),
    rank: config.r,
    base: config.base_model_name_or_path,
    revision: config.revision ?? null,
  };
}

/** Writes a manifest, by name. */
export const writeManifest = (path: string, entries: readonly ManifestEntry[]): Promise<void> =>
  writeFileAtomic(
    path,
    `${JSON.stringify(
      [...entries].sort((a, b) => (a.name < b.name ? -1 : 1)),
      null,
      2,
    )}\n`,
  );

/** Adds an adapter to a manifest, or replaces it there. Throws `bad_data` for a file that is none. */
export async function addToManifest(path: string, entry: ManifestEntry): Promise<void> {
  const known = (await pathExists(path))
    ? await readJson(path, z.array(entrySchema), { code: "bad_data" })
    : [];
  await writeManifest(path, [...known.filter(({ name }) => name !== entry.name), entry]);
}
