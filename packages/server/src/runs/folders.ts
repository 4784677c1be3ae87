// Run folders of `mos train` below one folder, as runs. The tree is walked at most so often that looking costs a small part of the
// time. Files may be anybody's, half written or gone: what cannot be read is left out.
import { createHash } from "node:crypto";
import { constants, type Dirent, type Stats } from "node:fs";
import { lstat, open, readdir, realpath, stat } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ADAPTER_CONFIG, ADAPTER_TENSORS, RETRAINING, RUN_FILES } from "mixture-of-shards-core/adapters";
import { isRecord, limitConcurrency, MosError, monotonicNow, tryJson } from "mixture-of-shards-core/common";
import { fromFileName, isFolderLocked, openSafetensors, storageError } from "mixture-of-shards-core/files";
import { describeOutcome, outcomeWarning, readOutcome } from "mixture-of-shards-core/training";
import { baseName } from "../adapter-store.ts";
import type { ApiKey } from "../auth.ts";
import {
  comparePlaces,
  type MeasurementBatch,
  placeOf,
  type RunEntry,
  type RunFacts,
  type RunSource,
} from "./run.ts";

/** Levels of folders that are searched. */
const MAX_DEPTH = 4;
/** Folders that are looked into, and runs that are shown: somebody may have given the root of a disk. */
const [MAX_FOLDERS, MAX_RUNS] = [20_000, 5_000];
/** Milliseconds for which a walk holds, and the same as a multiple of what it took. */
const [WALK_MS, WALK_SHARE] = [1_000, 20];
/** Folders that are read at once. */
const CONCURRENT = 16;

/** Hidden folders hold what other programs keep; node_modules thousands of folders without a run. */
const isSearched = (entry: Dirent): boolean =>
  entry.isDirectory() &&
  entry.name !== "node_modules" &&
  (!entry.name.startsWith(".") || entry.name.endsWith(RETRAINING));

/** The run folders below a folder. A link is not followed: it may lead out, or in a circle. */
async function findRuns(root: string): Promise<readonly FoundRun[]> {
  const found: FoundRun[] = [];
  let [folders, looked] = [[root], 0];
  for (let depth = 0; depth <= MAX_DEPTH && folders.length > 0; depth++) {
    const lists = await Promise.all(
      folders.map(limited(async (path) => ({ path, entries: await list(path) }))),
    );
    looked += folders.length;
    folders = [];
    for (const { path, entries } of lists) {
      const isRun = entries.some((entry) => entry.name === RUN_FILES.record && entry.isFile());
      if (isRun) found.push({ path, name: runName(relative(root, path) || basename(root)) });
      // what is in a run's folder are its checkpoints
      else folders.push(...entries.filter(isSearched).map(({ name }) => join(path, name)));
    }
    folders = folders.slice(0, Math.max(0, MAX_FOLDERS - looked));
  }
  return found.slice(0, MAX_RUNS);
}

const limited = <In, Out>(work: (value: In) => Promise<Out>): ((value: In) => Promise<Out>) => {
  const run = limitConcurrency(CONCURRENT);
  return (value) => run(() => work(value));
};

/** A folder that is gone, or that nobody may read, has none. */
const list = (path: string): Promise<readonly Dirent[]> =>
  readdir(path, { withFileTypes: true }).catch(() => []);

/**
 * The runs in folders below `folder`.
 *
 * @throws MosError `not_found`, `bad_option`, `storage` where there is no such folder.
 */
export async function openRunFolders(
  folder: string,
  options: {
    /** A folder of adapters that are served under the names of its sub-folders. */
    readonly adapters: string | undefined;
    /** Tests whether a key may see them, which belong to no tenant. */
    readonly maySee: (key: ApiKey) => boolean;
  },
): Promise<RunSource> {
  const { adapters, maySee } = options;
  const root = await realpath(folder).catch((error: unknown) => {
    throw storageError(error, folder);
  });
  if (!(await stat(root)).isDirectory())
    throw new MosError(
      "bad_option",
      `${folder} is a file; give --runs the folder that the run folders are in`,
    );
  const served = adapters === undefined ? undefined : await realpath(adapters).catch(() => undefined);
  const reader = createFolderReader(served);
  let walk: Promise<readonly FoundRun[]> | undefined;
  const find = (): Promise<readonly FoundRun[]> => {
    const begin = monotonicNow();
    walk ??= findRuns(root).finally(() => {
      const wait = Math.max(WALK_MS, WALK_SHARE * (monotonicNow() - begin));
      void sleep(wait, undefined, { ref: false }).then(() => {
        walk = undefined;
      });
    });
    return walk;
  };
  return {
    list: async (key, { after, limit }) => {
      if (!maySee(key)) return [];
      const runs = await find();
      reader.keep(new Set(runs.map(({ path }) => path)));
      const entries = await Promise.all(runs.map(limited(reader.read)));
      return entries
        .filter((entry) => entry !== undefined)
        .filter((entry) => after === undefined || comparePlaces(after, placeOf(entry)) < 0)
        .sort((a, b) => comparePlaces(placeOf(a), placeOf(b)))
        .slice(0, limit);
    },
    find: async (key, id) => {
      const run = maySee(key) ? (await find()).find(({ path }) => folderId(path) === id) : undefined;
      return run && (await reader.read(run));
    },
  };
}

const CHUNK = 1 << 18;
const NEWLINE = 0x0a;
/** Bytes of a line; one of a run has a few hundred. Longer ones are passed over. */
const MAX_LINE = 1 << 16;

/** A link is not followed, and a pipe is not waited for. */
const SAFE_FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/**
 * Measurements of whole lines behind a position. A last line without its end is left for the next time, anything that is no
 * measurement is passed over, and a file that cannot be read has none.
 */
async function* readAddedLines(path: string, from: number): AsyncGenerator<MeasurementBatch, void> {
  const handle = await open(path, SAFE_FLAGS).catch(() => undefined);
  if (handle === undefined) return;
  try {
    if (!(await handle.stat()).isFile()) return;
    const buffer = Buffer.allocUnsafe(CHUNK);
    for (let position = from; ; ) {
      const { bytesRead } = await handle.read(buffer, 0, CHUNK, position);
      const end = buffer.subarray(0, bytesRead).lastIndexOf(NEWLINE) + 1;
      if (end > 0) {
        position += end;
        const lines = buffer.toString("utf8", 0, end).split("\n");
        const whole = lines.filter((line) => line !== "" && line.length <= MAX_LINE);
        yield { measurements: whole.flatMap((line) => tryJson(line) ?? []), position };
      } else if (bytesRead === CHUNK) {
        // within a line that is far too long
        position += CHUNK;
        yield { measurements: [], position };
      } else return;
    }
  } catch {
    // it is gone, or its disk is
  } finally {
    await handle.close();
  }
}

/** Bytes of run.json and adapter_config.json. */
const MAX_JSON = 1 << 20;

/** A regular file; undefined for anything else, also a link. */
async function statFile(path: string): Promise<Stats | undefined> {
  const found = await lstat(path).catch(() => undefined);
  return found?.isFile() === true ? found : undefined;
}

/** The object in a small JSON file; undefined where it cannot be read. */
async function readFields(path: string): Promise<Readonly<Record<string, unknown>> | undefined> {
  const handle = await open(path, SAFE_FLAGS).catch(() => undefined);
  if (handle === undefined) return undefined;
  try {
    const found = await handle.stat();
    if (!found.isFile() || found.size > MAX_JSON) return undefined;
    const value: unknown = JSON.parse(await handle.readFile("utf8"));
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined;
  } finally {
    await handle.close();
  }
}

/** What does not change while a run goes on, but for the adapter, which comes with its first checkpoint. */
type FixedFacts = Awaited<ReturnType<typeof readFacts>>;

const textOrNull = (value: unknown): string | null =>
  typeof value === "string" ? value.slice(0, 500) : null;

/** The folder of the run's newest adapter: the final one, the best one so far, or that of the last checkpoint. */
async function adapterPlace(folder: string) {
  const checkpoints = join(folder, RUN_FILES.checkpoints);
  const steps = (await readdir(checkpoints).catch(() => [])).filter((name) => /^step-\d+$/.test(name));
  const last = steps.sort().slice(-1);
  for (const path of [folder, join(folder, RUN_FILES.best), ...last.map((name) => join(checkpoints, name))]) {
    const found = await statFile(join(path, ADAPTER_CONFIG));
    if (found !== undefined) return { path, stamp: `${found.ino} ${found.mtimeMs}` };
  }
  return undefined;
}

/** Numbers in an adapter's tensors; null where they cannot be read. */
async function countParameters(folder: string): Promise<number | null> {
  const path = join(folder, ADAPTER_TENSORS);
  if ((await statFile(path)) === undefined) return null;
  try {
    await using file = await openSafetensors(path, { code: "bad_adapter" });
    return [...file.tensors.values()].reduce(
      (sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1),
      0,
    );
  } catch {
    return null;
  }
}

async function readFacts(folder: string, adapter: string | undefined) {
  const record = await readFields(join(folder, RUN_FILES.record));
  const config = adapter === undefined ? undefined : await readFields(join(adapter, ADAPTER_CONFIG));
  const [given, settings] = [record?.["adapter"], record?.["settings"]].map((part) =>
    isRecord(part) ? part : {},
  );
  const { baseDtype, computeDtype } = record ?? {};
  const steps = settings?.["steps"];
  const base = textOrNull(config?.["base_model_name_or_path"]);
  return {
    model: base === null ? null : baseName(base),
    method: textOrNull(given?.["method"]),
    total_steps: Number.isSafeInteger(steps) ? Number(steps) : null,
    settings: [given ?? {}, settings ?? {}, { baseDtype, computeDtype }],
    trainable_parameters: adapter === undefined ? null : await countParameters(adapter),
    error:
      record === undefined
        ? `${RUN_FILES.record} is not a JSON object of at most ${MAX_JSON} bytes, so its settings are not known`
        : null,
  };
}

/** The id of a folder's run: the same after a restart, and nothing that a path can say. */
const folderId = (path: string): string =>
  `run-${createHash("sha256").update(path).digest("hex").slice(0, 24)}`;

/** A folder with a run, and its name among them. */
interface FoundRun {
  readonly path: string;
  readonly name: string;
}

const toSeconds = ({ mtimeMs }: Stats): number => Math.floor(mtimeMs / 1000);

/** The name under which a folder is served; a hidden one is not. */
const servedName = (path: string, adapters: string | undefined): string | null =>
  dirname(path) === adapters && !basename(path).startsWith(".") ? fromFileName(basename(path)) : null;

async function shownOutcome(path: string): Promise<RunFacts["outcome"]> {
  const outcome = await readOutcome(path);
  return outcome === undefined
    ? null
    : { text: describeOutcome(outcome).text, warning: outcomeWarning(outcome) ?? null };
}

/** Reads run folders, of which those in `adapters` are served; what has not changed since the last time is not read again. */
function createFolderReader(adapters: string | undefined) {
  const cache = new Map<string, { readonly stamp: string; readonly facts: FixedFacts }>();
  const fixedFacts = async (path: string, record: Stats): Promise<FixedFacts> => {
    const adapter = await adapterPlace(path);
    const stamp = `${record.ino} ${record.mtimeMs} ${record.size} ${adapter?.path} ${adapter?.stamp}`;
    const known = cache.get(path);
    if (known?.stamp === stamp) return known.facts;
    const facts = await readFacts(path, adapter?.path);
    cache.set(path, { stamp, facts });
    return facts;
  };
  return {
    /** The run in a folder; undefined where none is, or is no more. */
    read: async ({ path, name }: FoundRun): Promise<RunEntry | undefined> => {
      const metricsPath = join(path, RUN_FILES.metrics);
      const [record, metrics, config, isLocked, outcome] = await Promise.all([
        statFile(join(path, RUN_FILES.record)),
        statFile(metricsPath),
        statFile(join(path, ADAPTER_CONFIG)),
        isFolderLocked(path),
        shownOutcome(path),
      ]);
      if (record === undefined) return undefined;
      const { error, settings, ...fixed } = await fixedFacts(path, record);
      // another program's file of this name
      if (error !== null && metrics === undefined) return undefined;
      const isComplete = config !== undefined;
      const facts: RunFacts = {
        ...{ id: folderId(path), object: "run", kind: "folder", name, created_at: toSeconds(record) },
        ...{ ...fixed, tenant: null, step: 0, error },
        outcome,
        fine_tuned_model: isComplete ? servedName(path, adapters) : null,
        status: isLocked ? "running" : isComplete ? "succeeded" : "interrupted",
        finished_at: isLocked ? null : toSeconds(config ?? metrics ?? record),
      };
      return {
        facts,
        settings,
        createdAt: Math.floor(record.mtimeMs),
        series: `${metrics?.ino} ${metrics?.birthtimeMs}`,
        version: `${metrics?.size} ${metrics?.mtimeMs}`,
        read: (position) => readAddedLines(metricsPath, position),
      };
    },
    /** Forgets folders that are no more. */
    keep: (paths: ReadonlySet<string>): void => {
      for (const path of cache.keys()) if (!paths.has(path)) cache.delete(path);
    },
  };
}

/** The name of a hidden folder beside an adapter: the run that will replace it, or one whose adapter was replaced. */
function runName(name: string): string {
  const retrained = /^\.(.+)\.retraining$/.exec(basename(name))?.[1];
  return retrained === undefined ? name : `${join(name, "..", retrained)} (retraining)`;
}
