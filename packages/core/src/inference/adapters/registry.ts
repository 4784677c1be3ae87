// The adapters on disk, by name, as they were last seen.
import {
  ADAPTER_CONFIG,
  type AdapterConfig,
  type AdapterFolder,
  explainMissingAdapter,
  folderVersion,
  type LayerShapes,
  openAdapterFolder,
} from "#adapters";
import { limitConcurrency, MosError, omitUndefined } from "#common";
import { fromFileName, pathExists, repairFolder, replacedName, storageError, toFileName } from "#files";
import { join, readdir, stat } from "#platform";
import type { AdapterInfo, RefusedAdapter } from "../types.ts";
import { type ResidentDtype, residentBytes } from "./compact-adapter.ts";

/** Options of an adapter manager: its base, and the limits of its memory. */
export interface AdapterManagerOptions {
  /** A folder, where every sub-folder with an adapter_config.json is an adapter of that name, or folders by name. */
  readonly source: string | Readonly<Record<string, string>>;
  readonly shapes: LayerShapes;
  /** Fingerprint of the base; adapters that name another fingerprint and another identity are `bad_adapter`. */
  readonly fingerprint: string;
  readonly identity?: string | undefined;
  readonly tokens?: string | undefined;
  /** Maximum bytes of resident adapters. */
  readonly limitBytes: number;
  readonly dtype: ResidentDtype;
  /** Adapters of a larger rank are refused. */
  readonly maxRank?: number | undefined;
  /** Milliseconds from any start. */
  readonly now: () => number;
  /** Seconds between scans of the folder (5); with 0 only `refresh` scans it. */
  readonly pollSeconds?: number;
  /** Stops the first scan of the folder: `cancelled`. */
  readonly signal?: AbortSignal | undefined;
}

export interface RegisteredAdapter {
  readonly info: AdapterInfo;
  readonly config: AdapterConfig;
  readonly path: string;
  /** Version of the folder when it was read; a changed folder is read again. */
  readonly version: string;
}

interface RegistryOptions extends Omit<AdapterManagerOptions, "now"> {
  /** Tests whether a content is in memory (never). */
  readonly isResident?: (digest: string) => boolean;
}

/** A sub-folder as it was last seen. */
interface State {
  /** Undefined where a failure may be temporary. */
  readonly version: string | undefined;
  /** What the folder holds or, after a failure, what it held before as long as that is in memory. */
  readonly adapter?: RegisteredAdapter;
  readonly error?: MosError;
  readonly reason?: string;
}

const MAX_OPEN_FILES = 8;
const ATTEMPTS = 3;

/** Hidden folders are those that are being written; names with control characters are not accepted in requests. */
const canBeName = (name: string): boolean => !name.startsWith(".") && !/[\p{Cc}\p{Zl}\p{Zp}]/u.test(name);

/** Ranks of methods that share parameters between layers. */
const otherRanks = (config: AdapterConfig): Pick<AdapterInfo, "equivalentRank" | "privateRank"> => ({
  ...("equivalentRank" in config ? { equivalentRank: config.equivalentRank } : {}),
  ...("privateRank" in config ? { privateRank: config.privateRank } : {}),
});

async function foldersIn(folder: string, wasThere: boolean): Promise<readonly string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch((cause: unknown) => {
    const error = storageError(cause, folder);
    // the fault of a mount, not of the request for one of its adapters
    if (!wasThere || error.code !== "not_found") throw error;
    throw new MosError("storage", `${folder}: the folder of adapters is missing; remount or restore it`, {
      cause,
    });
  });
  return entries.flatMap((entry) => (entry.isDirectory() || entry.isSymbolicLink() ? [entry.name] : []));
}

/** Links to files, and names that are gone by now, are no folders. */
const isFolder = (path: string): Promise<boolean> =>
  stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );

export class Registry {
  failures = 0;
  readonly #options: RegistryOptions;
  #states: ReadonlyMap<string, State> = new Map();
  /** Adapters whose folders an operator named as `toFileName` does not. */
  #oddlyNamed: ReadonlySet<string> = new Set();
  #infos: readonly AdapterInfo[] = [];
  /** Folders without an adapter, which requests do not know. */
  #empty: readonly RefusedAdapter[] = [];
  #digests: ReadonlySet<string> = new Set();
  #onlyCopies: ReadonlySet<string> = new Set();
  #wasScanned = false;
  #repairing: Promise<void> | undefined;

  constructor(options: RegistryOptions) {
    this.#options = options;
  }

  list(): readonly AdapterInfo[] {
    return this.#infos;
  }

  /** Sub-folders that cannot be used, and why, by name. */
  refused(): readonly RefusedAdapter[] {
    const broken = [...this.#states].flatMap(([name, state]) =>
      state.reason === undefined ? [] : [{ name, reason: state.reason }],
    );
    return [...broken, ...this.#empty].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  has(digest: string): boolean {
    return this.#digests.has(digest);
  }

  /** Tests whether a content is served that no folder holds any more. */
  isOnlyCopy(digest: string): boolean {
    return this.#onlyCopies.has(digest);
  }

  /** Throws `not_found`, `bad_adapter`. */
  get(name: string): RegisteredAdapter {
    const state = this.#states.get(name);
    if (state?.adapter !== undefined) return state.adapter;
    if (state?.error !== undefined) throw state.error;
    const { source } = this.#options;
    if (typeof source !== "string" && Object.hasOwn(source, name))
      throw new MosError("not_found", `${source[name]}: no adapter here (there is no ${ADAPTER_CONFIG})`);
    // without their names, which the caller may not be allowed to know
    throw new MosError(
      "not_found",
      `there is no adapter ${JSON.stringify(name.slice(0, 100))}; ${this.#infos.length} are registered`,
    );
  }

  /** Makes the next scan read this folder even if nothing about it seems to have changed. */
  invalidate(name: string): void {
    const adapter = this.#states.get(name)?.adapter;
    if (adapter !== undefined) this.#put(name, { adapter, version: "" });
  }

  /** Marks an adapter whose content turned out to be broken, and returns the error. */
  markBroken({ info: { name }, version }: RegisteredAdapter, cause: MosError): MosError {
    this.failures++;
    const state = this.#toFailure(name, version, cause);
    if (this.#states.get(name)?.adapter?.version === version) this.#put(name, state);
    this.#publish();
    return state.error;
  }

  async close(): Promise<void> {
    await this.#repairing;
  }

  /** Does away with what killed writers left. */
  async restore(): Promise<void> {
    const { source } = this.#options;
    if (typeof source === "string") await repairFolder(source);
  }

  /** Scans the folder. Throws `not_found`, `storage`, `cancelled`. */
  async scan(signal?: AbortSignal): Promise<void> {
    // known names are checked one by one: a listing may fall between the two renames of a replacement
    const before = this.#states;
    const listed = await this.#names();
    const names = new Set([...listed, ...before.keys()]);
    const limited = limitConcurrency(MAX_OPEN_FILES);
    const seen = await Promise.all(
      [...names].map((name) =>
        limited(async () => {
          if (signal?.aborted === true)
            throw new MosError("cancelled", "interrupted while scanning adapters");
          return [name, await this.#readState(name, before.get(name))] as const;
        }),
      ),
    );
    const states = new Map<string, State>();
    for (const [name, found] of seen) {
      // a load may have found an error meanwhile, which holds for this version only
      const [known, now] = [before.get(name), this.#states.get(name)];
      const isNews = found !== known && found?.version !== now?.version;
      const state = now === known || isNews ? found : now;
      if (state !== undefined) states.set(name, state);
    }
    this.#states = states;
    this.#wasScanned = true;
    this.#empty = await this.#isEmptySlot(listed.filter((name) => !states.has(name)));
    this.#publish();
  }

  async #isEmptySlot(names: readonly string[]): Promise<readonly RefusedAdapter[]> {
    if (typeof this.#options.source !== "string") return []; // `get` says it
    const found: RefusedAdapter[] = [];
    for (const name of names) {
      const path = this.#adapterPath(name);
      if (await isFolder(path)) found.push({ name, reason: await explainMissingAdapter(path) });
    }
    return found;
  }

  async #names(): Promise<readonly string[]> {
    const { source } = this.#options;
    if (typeof source !== "string") return Object.keys(source);
    const found = await foldersIn(source, this.#wasScanned);
    if (found.some((name) => /^\..*\.(partial|replaced)$/.test(name))) this.#repairBeside(source);
    const folders = new Set(found);
    const names = new Set(found.map(fromFileName).filter(canBeName));
    // one that is being replaced is not listed; of two folders for one name, the one of `toFileName` counts
    const before = [...this.#oddlyNamed].filter((name) => this.#states.has(name));
    this.#oddlyNamed = new Set([...names, ...before].filter((name) => !folders.has(toFileName(name))));
    return [...names];
  }

  /** Not waited for: it waits for a server that is changing the folder, which may be waiting for this scan. */
  #repairBeside(source: string): void {
    this.#repairing ??= repairFolder(source)
      .catch(() => undefined) // the next scan tries again
      .finally(() => {
        this.#repairing = undefined;
      });
  }

  #adapterPath(name: string): string {
    const { source } = this.#options;
    if (typeof source !== "string") return source[name] ?? "";
    return join(source, this.#oddlyNamed.has(name) ? name : toFileName(name));
  }

  async #readState(name: string, before: State | undefined): Promise<State | undefined> {
    const path = this.#adapterPath(name);
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const found = await this.#tryState(name, path, before);
      if (found !== "changing") return found;
    }
    // it may still be loaded, or be read at the next scan
    if (before?.adapter !== undefined) return before;
    const cause = new MosError("storage", `${path}: the folder changed while being read`);
    return this.#toFailure(name, undefined, cause);
  }

  async #tryState(
    name: string,
    path: string,
    before: State | undefined,
  ): Promise<State | undefined | "changing"> {
    let version: string | undefined;
    try {
      version = (await folderVersion(path))?.text ?? (await this.#betweenRenames(path, before));
      if (version === undefined) return undefined;
      const isLost = before?.error !== undefined && before?.adapter !== this.#loaded(before);
      if (version === before?.version && !isLost) return before;
      await using folder = await openAdapterFolder(path);
      const adapter = await this.#register(name, path, folder);
      return (await folder.isCurrent()) ? { version: adapter.version, adapter } : "changing";
    } catch (cause) {
      const now = await folderVersion(path).catch(() => undefined);
      if (now?.text !== version) return "changing"; // what failed was a mixture of two contents
      const state = this.#toFailure(name, version, storageError(cause, path));
      if (before?.error?.message !== state.error.message) this.failures++;
      const adapter = this.#loaded(before);
      if (adapter === undefined) return state;
      return { ...state, adapter, reason: `${state.reason}; what it held before is served from memory` };
    }
  }

  /** The adapter of a state if its content is in memory. */
  #loaded(state: State | undefined): RegisteredAdapter | undefined {
    const adapter = state?.adapter;
    const isResident = adapter !== undefined && this.#options.isResident?.(adapter.info.digest) === true;
    return isResident ? adapter : undefined;
  }

  /** A known adapter that is not there: it is being replaced right now, or it is gone. */
  async #betweenRenames(path: string, before: State | undefined): Promise<string | undefined> {
    if (before === undefined) return undefined;
    if (await pathExists(replacedName(path))) return before.version ?? "";
    return (await folderVersion(path))?.text;
  }

  #toFailure(name: string, version: string | undefined, cause: MosError) {
    // a file that is missing changes the version when it appears
    const lasting = ["bad_adapter", "unsupported", "not_found"].includes(cause.code);
    const isNamed = typeof this.#options.source === "string";
    const reason = isNamed ? cause.message.replaceAll(this.#adapterPath(name), name) : cause.message;
    const message = `adapter ${JSON.stringify(name)} cannot be used: ${reason}`;
    const error = new MosError("bad_adapter", message, { cause });
    return { version: lasting ? version : undefined, error, reason };
  }

  async #register(name: string, path: string, folder: AdapterFolder): Promise<RegisteredAdapter> {
    const { shapes, dtype, fingerprint, identity, tokens, limitBytes, maxRank = Infinity } = this.#options;
    const { version } = folder;
    const { config, trainedOn } = await folder.check({ shapes, fingerprint, identity, tokens });
    if (config.rank > maxRank)
      throw new MosError(
        "bad_adapter",
        `its rank ${config.rank} exceeds the limit of ${maxRank}; raise --max-adapter-rank of mos serve`,
      );
    const { own, shared } = residentBytes(config, shapes, dtype);
    if (own + shared > limitBytes)
      throw new MosError(
        "bad_adapter",
        `it takes ${own + shared} bytes, more than the memory for all adapters, ${limitBytes}; raise --adapter-memory of mos serve`,
      );
    const info: AdapterInfo = {
      name,
      digest: await folder.digest(),
      method: config.method,
      rank: config.rank,
      ...otherRanks(config),
      targets: config.targets,
      residentBytes: own,
      sizeBytes: version.bytes,
      changedAt: version.changedAt,
      ...omitUndefined({ trainedOn }),
    };
    return { info, config, path, version: version.text };
  }

  #put(name: string, state: State): void {
    this.#states = new Map(this.#states).set(name, state);
  }

  #publish(): void {
    const adapters = [...this.#states.values()].flatMap(({ adapter }) => adapter ?? []);
    this.#infos = adapters.map(({ info }) => info).sort((a, b) => (a.name < b.name ? -1 : 1));
    this.#digests = new Set(this.#infos.map(({ digest }) => digest));
    const kept = [...this.#states.values()].filter(({ error }) => error !== undefined);
    this.#onlyCopies = new Set(kept.flatMap(({ adapter }) => adapter?.info.digest ?? []));
  }
}
