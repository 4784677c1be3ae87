// Benchmarks from the Hugging Face Hub, kept as the folders that `--data` takes.
import { join } from "node:path";
import {
  fetchTextFile,
  type hubSettings,
  MosError,
  pullDataset,
  type TransferEvent,
} from "mixture-of-shards";
import { omitUndefined } from "mixture-of-shards-core/common";
import { pathExists, writeFileAtomic, writeFolderAtomic } from "mixture-of-shards-core/files";
import type { HubSource } from "./benchmark.ts";
import { type BenchmarkName, findBenchmark } from "./benchmarks/index.ts";
import { assertCounts, type Tables, writeBelow } from "./data.ts";

/** The hub, where benchmarks are kept, and how the connection is made. */
export interface FetchBenchmarkOptions
  extends Omit<Parameters<typeof fetchTextFile>[1] & object, "endpoint" | "token"> {
  readonly hub: Awaited<ReturnType<typeof hubSettings>>;
  /** Folder of the benchmarks, each in a folder of its own. */
  readonly folder: string;
  /** URL of BBH's prompts, as `<task>.txt`. Default: their authors' repository. */
  readonly promptsUrl?: string;
}

/** A data set may have Parquet files itself, or only those that the hub makes of it. */
const REVISIONS = ["main", "refs/convert/parquet"] as const;
const TABLE = /^(?:.*\/)?([\w-]+)\/([a-z_]+)(?:-\d+-of-\d+|\/\d+)\.parquet$/;

/**
 * Makes sure that a benchmark is on this machine, and gives the folder for `Benchmark.questions`. What is there already is
 * used without the network; else its tables are downloaded from the hub, checked for being whole, and kept as the files
 * that a folder of `--data` holds.
 *
 * @throws MosError `bad_data` where the data set has another size than the rules were written for; `unsupported`, and
 * what a download throws.
 * @example
 * const folder = yield* fetchBenchmark("gsm8k", { hub, folder: join(cache, "benchmarks") });
 */
export async function* fetchBenchmark(
  name: BenchmarkName,
  options: FetchBenchmarkOptions,
): AsyncGenerator<TransferEvent, string> {
  const { hub, folder } = options;
  const target = join(folder, name);
  if (await pathExists(target)) return target;
  const { source, read } = findBenchmark(name);
  if ("instructions" in source) throw new MosError("not_found", `${name}: ${source.instructions}`);
  if (hub.offline)
    throw new MosError(
      "not_found",
      `${name}: ${source.repository} is not in ${folder}, and network access is disabled; pass a folder (--data)`,
    );
  const pulled = yield* pullTables(source, options);
  const tables = groupTables(pulled.paths, source);
  const texts = yield* fetchTexts(source, tables, options);
  await writeFolderAtomic(target, async (staging) => {
    await source.write(tables, staging);
    for (const [path, text] of texts) await writeBelow(join(staging, name), path, text);
    assertCounts((await read(staging)).counts, source.repository);
    const { repository, commit } = pulled;
    await writeFileAtomic(join(staging, "source.json"), `${JSON.stringify({ repository, commit })}\n`);
  });
  return target;
}

/**
 * The folder of each benchmark's data, where one folder holds them all, or each is fetched that is not there. Throws what
 * `fetchBenchmark` throws.
 */
export async function* findData({
  tasks,
  data,
  signal,
}: {
  readonly tasks: readonly BenchmarkName[];
  readonly data: string | Omit<FetchBenchmarkOptions, "signal">;
  readonly signal?: AbortSignal | undefined;
}) {
  if (typeof data === "string") return () => data;
  const folders = new Map<BenchmarkName, string>();
  for (const task of tasks) {
    const transfers = fetchBenchmark(task, { ...data, ...omitUndefined({ signal }) });
    let step = await transfers.next();
    for (; step.done !== true; step = await transfers.next())
      yield { type: "download", task, transfer: step.value } as const;
    folders.set(task, step.value);
  }
  return (task: BenchmarkName): string => folders.get(task) ?? "";
}

async function* pullTables(
  source: HubSource,
  { hub, folder: _folder, promptsUrl: _promptsUrl, ...connection }: FetchBenchmarkOptions,
): ReturnType<typeof pullDataset> {
  const { offline: _offline, ...settings } = hub;
  for (const revision of REVISIONS) {
    try {
      return yield* pullDataset(source.repository, {
        ...settings,
        ...connection,
        revision,
        select: (files) =>
          files.map(({ path }) => path).filter((path) => tableName(path, source) !== undefined),
      });
    } catch (error) {
      if (error instanceof MosError && error.code === "network")
        throw new MosError("network", `${error.message}; or pass a folder (--data)`, { cause: error });
      const last = revision === REVISIONS.at(-1);
      if (last || !(error instanceof MosError) || error.code !== "not_found") throw error;
    }
  }
  throw new MosError("not_found", `${source.repository} has no Parquet files`);
}

/** `config/split` of a Parquet file that is needed. */
function tableName(path: string, { wants }: HubSource): string | undefined {
  const [, config = "", split = ""] = TABLE.exec(path) ?? [];
  return wants(config, split) ? `${config}/${split}` : undefined;
}

function groupTables(paths: ReadonlyMap<string, string>, source: HubSource): Tables {
  const tables = new Map<string, string[]>();
  for (const [name, path] of [...paths].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const table = tableName(name, source) ?? "";
    tables.set(table, [...(tables.get(table) ?? []), path]);
  }
  return tables;
}

/** Text files by their path in the benchmark's folder. Throws what a download throws, with what else would do. */
async function* fetchTexts(
  { texts }: HubSource,
  tables: Tables,
  { hub: _hub, folder: _folder, promptsUrl, ...connection }: FetchBenchmarkOptions,
): AsyncGenerator<TransferEvent, ReadonlyMap<string, string>> {
  const fetched = new Map<string, string>();
  if (texts === undefined) return fetched;
  const address = promptsUrl ?? texts.url;
  for (const name of texts.names(tables)) {
    const path = `${texts.folder}/${name}`;
    try {
      const url = `${address.replace(/(?<!\/)\/+$/, "")}/${name}`;
      const text = await fetchTextFile({ url, repository: texts.repository, path }, connection);
      fetched.set(path, text);
      yield { type: "file", path, size: Buffer.byteLength(text), state: "complete" };
    } catch (error) {
      if (!(error instanceof MosError) || error.code === "cancelled") throw error;
      throw new MosError(
        error.code,
        `${texts.what} could not be downloaded from ${address}: ${error.message}. Or pass a folder that holds ${texts.instead} (--data)`,
        { cause: error },
      );
    }
  }
  return fetched;
}
