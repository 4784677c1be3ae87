// Location of data: files by name or by pattern, or a data set of the Hugging Face Hub.
import { describeBytes, MosError, omitUndefined } from "#common";
import { pathExists, storageFailure } from "#files";
import {
  cachedDataset,
  type HubOptions,
  type HubSettings,
  type ListedFile,
  looksLikeRepository,
  type PullDatasetOptions,
  type PulledDataset,
  pullDataset,
  type TransferEvent,
  withHubDefaults,
} from "#hub";
import { basename, dirname, glob, isAbsolute, join, realpath, stat } from "#platform";
import { DATA_EXTENSIONS, describeOtherFile, isDataFile } from "./records.ts";

/** Options of locating data. */
export interface LocateDataOptions {
  /** Hub to look up and download `org/name`. */
  readonly hub?: HubOptions | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Finds data files: a path as it is, a pattern such as `data/*.jsonl` in the order of names, or
 * `org/name[@revision][:configuration/split]` of the hub, which is downloaded where it is not in the cache. Gives the events
 * of downloads, and returns the paths.
 *
 * @throws MosError `not_found`; `bad_option` where a file is named twice; and what a download throws.
 */
export async function* locateData(
  names: string | readonly string[],
  options: LocateDataOptions,
): AsyncGenerator<TransferEvent, readonly string[]> {
  const paths: string[] = [];
  for (const name of typeof names === "string" ? [names] : names) {
    const found = yield* locateOne(name, options);
    for (const path of found) paths.push(path); // a pattern may have more than a call takes arguments
  }
  await refuseTwice(paths);
  return paths;
}

async function* locateOne(
  name: string,
  { hub, signal }: LocateDataOptions,
): AsyncGenerator<TransferEvent, readonly string[]> {
  if (await pathExists(name)) {
    if (!(await stat(name)).isDirectory()) return [name];
    throw new MosError(
      "bad_data",
      `${name}: this is a folder; name its files, such as "${join(name, "*.jsonl")}"; mos data passages reads folders of documents`,
    );
  }
  if (/[*?[\]{}]/.test(name)) return await matching(name);
  const file = name.replace(/:.*/, "");
  if (isDataFile(file) || describeOtherFile(file) !== undefined || !looksLikeRepository(name))
    throw new MosError(
      "not_found",
      `${name}: no such file; give a file (${DATA_EXTENSIONS.join(", ")}), a pattern in quotes such as "data/*.jsonl", or org/name of a data set of the Hugging Face Hub`,
    );
  return yield* pullTables(name, {
    hub: await withHubDefaults(hub),
    ...omitUndefined({ signal }),
  });
}

/** Files that a pattern names, by the order of their names, which is the same everywhere. */
export async function matching(pattern: string): Promise<readonly string[]> {
  const found = await glob(pattern, {
    onlyFiles: true,
    expandDirectories: false,
    absolute: isAbsolute(pattern),
  }).catch(storageFailure(pattern));
  if (found.length > 0) return await listEntries(found.sort((a, b) => (a < b ? -1 : 1)));
  throw new MosError("not_found", `${pattern}: no file matches; patterns are relative to this folder`);
}

/** Each entry of a folder once: a link to a folder may lead to one that was searched already. */
async function listEntries(paths: readonly string[]): Promise<readonly string[]> {
  const entries = new Map<string, string>();
  for (const path of paths) {
    const entry = join(await realpath(dirname(path)), basename(path));
    const other = entries.get(entry);
    if (other === undefined || path.length < other.length) entries.set(entry, path);
  }
  const kept = new Set(entries.values());
  return paths.filter((path) => kept.has(path));
}

async function refuseTwice(paths: readonly string[]): Promise<void> {
  const seen = new Set<string>();
  for (const path of paths) {
    const real = await realpath(path);
    if (seen.has(real))
      throw new MosError("bad_option", `${path} is given twice, so its examples would count twice; omit one`);
    seen.add(real);
  }
}

// Data sets of the Hugging Face Hub: which of their files are a split. The hub keeps a copy of most data sets in Parquet, as
// `configuration/split/0000.parquet`, on a branch of its own; else the files of the repository are taken by their names.

/** One split of a configuration. */
interface Table {
  readonly config: string;
  readonly split: string;
  readonly files: readonly ListedFile[];
}

const CONVERTED = "refs/convert/parquet";
/** Limit of the hub's own conversion. */
const MAX_BYTES = 5e9;

export interface PullTablesOptions
  extends Pick<PullDatasetOptions, "signal" | "fetch" | "sleep" | "retries"> {
  readonly hub: HubSettings;
}

/**
 * Brings a split of a data set, `org/name[@revision][:part]`, into the hub's cache, and gives its files in their order. The
 * part is a split, a configuration, both with a slash between them, or the name of a file; without it the training split of
 * the only configuration is taken.
 *
 * @throws MosError `bad_option` where the part is not there or is needed, saying what there is; `not_found`, `network`.
 */
export async function* pullTables(
  name: string,
  options: PullTablesOptions,
): AsyncGenerator<TransferEvent, readonly string[]> {
  const [repository = "", part = ""] = name.split(/:(.*)/s);
  const select = (files: readonly ListedFile[]): readonly string[] => {
    const chosen = isDataFile(part)
      ? fileNamed(part, files, repository)
      : selectFiles(part, files, repository);
    const bytes = chosen.reduce((sum, { size }) => sum + size, 0);
    if (bytes > MAX_BYTES)
      throw new MosError(
        "bad_option",
        `${name} has ${describeBytes(bytes)}, more than the limit of ${describeBytes(MAX_BYTES)}; name one of its files: ${repository}:${chosen[0]?.path}`,
      );
    return chosen.map(({ path }) => path);
  };
  const revisions = repository.includes("@")
    ? [undefined]
    : isDataFile(part)
      ? [undefined, CONVERTED]
      : [CONVERTED, undefined];
  let failure: unknown;
  for (const revision of revisions) {
    try {
      const pulled = yield* pullOne(repository, { ...options, revision, select });
      return [...pulled.paths].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, path]) => path);
    } catch (error) {
      if (!(error instanceof MosError) || error.code !== "not_found") throw error;
      if (revision === undefined) failure = error; // what the repository itself lacks says more
    }
  }
  throw failure;
}

async function* pullOne(
  repository: string,
  {
    hub,
    revision,
    select,
    ...connection
  }: PullTablesOptions & Pick<PullDatasetOptions, "select"> & { readonly revision: string | undefined },
): AsyncGenerator<TransferEvent, PulledDataset> {
  const { offline, ...settings } = hub;
  const wanted = { ...settings, select, ...omitUndefined({ revision }) };
  if (!offline) return yield* pullDataset(repository, { ...wanted, ...connection });
  const cached = await cachedDataset(repository, wanted);
  if (cached !== undefined) return cached;
  throw new MosError(
    "not_found",
    `${repository} is not in the cache ${hub.cacheFolder}, and network access is disabled`,
  );
}

function fileNamed(part: string, files: readonly ListedFile[], name: string): readonly ListedFile[] {
  const found = files.filter(({ path }) => path === part);
  if (found.length > 0) return found;
  throw new MosError("not_found", `${name} has no file ${part}; ${listNames(files.map(({ path }) => path))}`);
}

/** The files of the split that a part names. */
function selectFiles(part: string, files: readonly ListedFile[], name: string): readonly ListedFile[] {
  const tables = groupTables(files);
  const refuse = (problem: string, from: readonly Table[]): MosError =>
    new MosError(
      "bad_option",
      `${name}: ${problem}; write ${name}:… with one of ${listNames(from.map(({ config, split }) => `${config}/${split}`))}`,
    );
  if (tables.length === 0)
    throw new MosError(
      "not_found",
      `${name} has no Parquet, JSON or CSV files whose names identify a split; ${listNames(files.map(({ path }) => path))}`,
    );
  const named = tables.filter(({ config, split }) =>
    [`${config}/${split}`, split, config, ""].includes(part),
  );
  if (named.length === 0) throw refuse(`there is no ${part}`, tables);
  const [only] = chooseTable(named);
  if (only === undefined) throw refuse("there are several parts", named);
  if (only.split.startsWith("partial-") && !part.includes(only.split))
    throw refuse(
      "the hub has converted only a part of it; name that part, or the repository's own files by @main",
      named,
    );
  return only.files;
}

/** The table that is meant where several are left: the only one, the training split, or that of the standard configuration. */
function chooseTable(tables: readonly Table[]): readonly Table[] {
  if (tables.length === 1) return tables;
  const train = tables.filter(({ split }) => split === "train");
  return train.length === 1 ? train : train.filter(({ config }) => config === "default");
}

const listNames = (names: readonly string[]): string =>
  names.slice(0, 12).join(", ") + (names.length > 12 ? `, … (${names.length} in all)` : "");

const SHARD =
  /^(?:(?<config>.+)\/)?(?<split>[\w.-]+?)-\d{5}-of-\d{5}(?:-[0-9a-f]+)?\.(?:parquet|jsonl|json|csv)$/;
const OF_HUB = /^(?<config>.+)\/(?<split>[\w.-]+)\/\d{4}\.parquet$/;
const SPLIT = /(?:^|[^a-z])(train|test|validation|valid|val|dev|eval)(?:ing|uation)?(?:[^a-z]|$)/i;
const ABOUT = /^(?:\.|.*\/\.)|(?:^|\/)(?:dataset_infos?|metadata|config)\.json$/;

/** The splits in files of the first of these formats that there is. */
function groupTables(files: readonly ListedFile[]): readonly Table[] {
  for (const format of [/\.parquet$/, /\.jsonl$/, /\.csv$/, /\.json$/]) {
    const tables = new Map<string, Table & { readonly files: ListedFile[] }>();
    for (const file of files) {
      if (!format.test(file.path) || ABOUT.test(file.path)) continue;
      const { config, split } = parseTablePath(file.path);
      const key = `${config}/${split}`;
      const table = tables.get(key) ?? { config, split, files: [] };
      table.files.push(file);
      tables.set(key, table);
    }
    if (tables.size > 0) return [...tables.values()];
  }
  return [];
}

function parseTablePath(path: string): Pick<Table, "config" | "split"> {
  const { config, split } = (OF_HUB.exec(path) ?? SHARD.exec(path))?.groups ?? {};
  const folder = config ?? path.slice(0, Math.max(0, path.lastIndexOf("/")));
  const name = path.slice(path.lastIndexOf("/") + 1);
  return {
    config: folder === "" || folder === "data" ? "default" : folder,
    split: split ?? SPLIT.exec(name)?.[1]?.toLowerCase() ?? "train",
  };
}
