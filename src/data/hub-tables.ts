// Data sets of the Hugging Face Hub: which of their files are a split. The hub keeps a copy of most data sets in Parquet, as
// `configuration/split/0000.parquet`, on a branch of its own; else the files of the repository are taken by their names.
import { describeBytes, MosError } from "#core";
import {
  cachedDataset,
  type HubSettings,
  type ListedFile,
  type PullDatasetOptions,
  type PulledDataset,
  pullDataset,
  type TransferEvent,
} from "#hub";
import { isDataFile } from "./records.ts";

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
        `${name} has ${describeBytes(bytes)}, more than the ${describeBytes(MAX_BYTES)} that are trained on; name one of its files: ${repository}:${chosen[0]?.path}`,
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

interface PullOneOptions extends PullTablesOptions, Pick<PullDatasetOptions, "select"> {
  readonly revision: string | undefined;
}

async function* pullOne(
  repository: string,
  { hub, revision, select, ...connection }: PullOneOptions,
): AsyncGenerator<TransferEvent, PulledDataset> {
  const { offline, ...settings } = hub;
  const wanted = { ...settings, select, ...(revision === undefined ? {} : { revision }) };
  if (!offline) return yield* pullDataset(repository, { ...wanted, ...connection });
  const cached = await cachedDataset(repository, wanted);
  if (cached !== undefined) return cached;
  throw new MosError(
    "not_found",
    `${repository} is not in the cache ${hub.cacheFolder}, and the network is switched off`,
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
      `${name} has no Parquet, JSON or CSV files that are known to be a split; ${listNames(files.map(({ path }) => path))}`,
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
