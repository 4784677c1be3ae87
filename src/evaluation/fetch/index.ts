import { join } from "node:path";
import { MosError } from "#core";
import {
  type ConnectionOptions,
  type HubSettings,
  type ListedFile,
  type PulledDataset,
  pullDataset,
  type TransferEvent,
} from "#hub";
import { makeFolder, pathExists, writeFileAtomic, writeFolderAtomic } from "#storage";
import { expectCounts } from "../data/counts.ts";
import { readers } from "../data/readers.ts";
import type { TaskName } from "../types.ts";
import { fetchBbhPrompt, PROMPTS_URL } from "./bbh-prompts.ts";
import { SOURCES, type Source, type Tables } from "./sources.ts";

export interface FetchBenchmarkOptions extends Omit<ConnectionOptions, "endpoint" | "token"> {
  readonly hub: HubSettings;
  /** Where the benchmarks are kept, each in a folder of its own. */
  readonly folder: string;
  /** Where BBH's prompts are, as `<task>.txt`. */
  readonly promptsUrl?: string;
}

/** A data set may have Parquet files itself, or only those that the hub makes of it. */
const REVISIONS = ["main", "refs/convert/parquet"] as const;
const TABLE = /^(?:.*\/)?([\w-]+)\/([a-z_]+)(?:-\d+-of-\d+|\/\d+)\.parquet$/;

/**
 * Makes sure that a benchmark is on this machine, and gives the folder for `Task.questions`. What is there already is
 * used without the network; else its tables are downloaded from the hub, checked for being whole, and kept as the files
 * that a folder of `--data` holds.
 *
 * @throws MosError `bad_data` where the data set has another size than the rules were written for; `unsupported`, and
 * what a download throws.
 * @example
 * const folder = yield* fetchBenchmark("gsm8k", { hub, folder: join(cache, "benchmarks") });
 */
export async function* fetchBenchmark(
  task: TaskName,
  options: FetchBenchmarkOptions,
): AsyncGenerator<TransferEvent, string> {
  const { hub, folder, promptsUrl = PROMPTS_URL, ...connection } = options;
  const target = join(folder, task);
  if (await pathExists(target)) return target;
  const source = SOURCES[task];
  if (hub.offline)
    throw new MosError(
      "not_found",
      `${task}: ${source.repository} is not in ${folder}, and the network is switched off; give a folder (--data)`,
    );
  const pulled = yield* pullTables(source, options);
  const tables = tablesOf(pulled, source);
  const prompts = new Map<string, string>();
  for (const name of task === "bbh" ? configsOf(tables) : []) {
    const text = await fetchBbhPrompt(name, { ...connection, promptsUrl });
    prompts.set(name, text);
    yield { type: "file", path: `cot-prompts/${name}.txt`, size: Buffer.byteLength(text), state: "complete" };
  }
  await writeFolderAtomic(target, async (staging) => {
    await source.write(tables, staging);
    await writePrompts(prompts, staging);
    expectCounts((await readers[task](staging)).counts, source.repository);
    const { repository, commit } = pulled;
    await writeFileAtomic(join(staging, "source.json"), `${JSON.stringify({ repository, commit })}\n`);
  });
  return target;
}

async function* pullTables(
  source: Source,
  { hub, folder: _folder, promptsUrl: _promptsUrl, ...connection }: FetchBenchmarkOptions,
): AsyncGenerator<TransferEvent, PulledDataset> {
  const { offline: _offline, ...settings } = hub;
  const select = (files: readonly ListedFile[]): readonly string[] =>
    files.map(({ path }) => path).filter((path) => tableOf(path, source) !== undefined);
  for (const revision of REVISIONS) {
    try {
      return yield* pullDataset(source.repository, { ...settings, ...connection, revision, select });
    } catch (error) {
      const last = revision === REVISIONS.at(-1);
      if (last || !(error instanceof MosError) || error.code !== "not_found") throw error;
    }
  }
  throw new MosError("not_found", `${source.repository} has no Parquet files`);
}

/** `config/split` of a Parquet file that is wanted. */
function tableOf(path: string, { wants }: Source): string | undefined {
  const [, config = "", split = ""] = TABLE.exec(path) ?? [];
  return wants(config, split) ? `${config}/${split}` : undefined;
}

function tablesOf({ paths }: PulledDataset, source: Source): Tables {
  const tables = new Map<string, string[]>();
  for (const [name, path] of [...paths].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const table = tableOf(name, source) ?? "";
    tables.set(table, [...(tables.get(table) ?? []), path]);
  }
  return tables;
}

const configsOf = (tables: Tables): readonly string[] =>
  [...tables.keys()].map((table) => table.split("/")[0] ?? "");

async function writePrompts(prompts: ReadonlyMap<string, string>, folder: string): Promise<void> {
  if (prompts.size === 0) return;
  await makeFolder(join(folder, "bbh", "cot-prompts"));
  for (const [name, text] of prompts)
    await writeFileAtomic(join(folder, "bbh", "cot-prompts", `${name}.txt`), text);
}
