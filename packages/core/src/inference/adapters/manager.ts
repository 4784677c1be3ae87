// The adapters of an engine: registered by name (registry.ts), resident in memory by content (resident-cache.ts).
import { type ExpandedFactors, expandOnHost, folderVersion } from "#adapters";
import { MosError } from "#common";
import { unref } from "#platform";
import type { AdapterInfo, EngineStats, RefusedAdapter } from "../types.ts";
import { baseFactorsKey, unpackAdapter } from "./compact-adapter.ts";
import { type AdapterManagerOptions, type RegisteredAdapter, Registry } from "./registry.ts";
import { type Pinned, ResidentCache } from "./resident-cache.ts";

/** Is told which adapters there are, and which folders cannot be used. */
export type AdaptersListener = (adapters: readonly AdapterInfo[], refused: readonly RefusedAdapter[]) => void;

/** Pins a resident adapter until it is disposed. A replaced or removed adapter stays in memory for its leases. */
export interface AdapterLease extends Disposable {
  readonly name: string;
  /** Digest of the leased content, which the folder may no longer hold. */
  readonly digest: string;
  /** The largest rank of its factors. */
  readonly rank: number;
  /**
   * The factors of all target modules by `moduleKey`, computed on this thread: A [r, in], Bᵀ [r, out], scale. The arrays may be
   * the resident ones or be shared between modules: copy them, never write into them.
   */
  expand(): ReadonlyMap<string, ExpandedFactors>;
  /** For factors that are the base's own, but for a core: adapters with the same key have the same ones. */
  readonly shared?: { readonly key: string; readonly expand: () => ReadonlyMap<string, ExpandedFactors> };
}

const POLL_SECONDS = 5;
const ATTEMPTS = 4;

function createLease(
  { info: { name, digest, rank }, config }: RegisteredAdapter,
  pinned: Pinned,
  shapes: AdapterManagerOptions["shapes"],
): AdapterLease {
  let held: Pinned | undefined = pinned;
  const expand = (asProducts: boolean): ReadonlyMap<string, ExpandedFactors> => {
    if (held === undefined)
      throw new MosError("bad_option", `the lease of adapter ${JSON.stringify(name)} is already released`);
    return expandOnHost(unpackAdapter(held.compact, shapes, held.shared), { asProducts });
  };
  const key = baseFactorsKey(config, shapes);
  return {
    name,
    digest,
    rank,
    expand: () => expand(false),
    ...(key === undefined ? {} : { shared: { key, expand: () => expand(true) } }),
    [Symbol.dispose]() {
      held?.release();
      held = undefined;
    },
  };
}

/** The work, run once at a time: calls during a run share the next one. */
export function coalesce(work: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined;
  let next: Promise<void> | undefined;
  const start = (): Promise<void> => {
    next = undefined;
    running = work().finally(() => {
      running = undefined;
    });
    return running;
  };
  return () => {
    if (running === undefined) return start();
    next ??= running.then(start, start);
    return next;
  };
}

const isBroken = (error: unknown): error is MosError =>
  error instanceof MosError && (error.code === "bad_adapter" || error.code === "unsupported");

/** The disk or its files have changed since the folder was scanned. */
const mayBeStale = (error: unknown): boolean =>
  error instanceof MosError && (error.code === "not_found" || error.code === "storage");

class Manager implements AsyncDisposable {
  readonly #options: AdapterManagerOptions;
  readonly #registry: Registry;
  readonly #resident: ResidentCache;
  readonly #scan: () => Promise<void>;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  /** What the listener was told last. */
  #reported = "";
  #listener: AdaptersListener | undefined;

  constructor(options: AdapterManagerOptions) {
    this.#options = options;
    this.#registry = new Registry({ ...options, isResident: (digest) => this.#resident.has(digest) });
    this.#resident = new ResidentCache({
      ...options,
      isRegistered: (digest) => this.#registry.has(digest),
      isOnlyCopy: (digest) => this.#registry.isOnlyCopy(digest),
    });
    this.#scan = coalesce(async () => {
      await this.#registry.scan();
      this.#report();
    });
  }

  /** Called once, before anything else. */
  async open(): Promise<void> {
    await this.#registry.restore();
    await this.#registry.scan(this.#options.signal);
    this.#reported = this.#summary();
    this.#schedule();
  }

  /** As last seen in the folder, by name. */
  list(): readonly AdapterInfo[] {
    return this.#registry.list();
  }

  /** Sub-folders that cannot be used, as last seen, by name. */
  refused(): readonly RefusedAdapter[] {
    return this.#registry.refused();
  }

  /** Calls the listener after every scan that changed either list. */
  onChange(listener: AdaptersListener): void {
    this.#listener = listener;
  }

  async refresh(): Promise<readonly AdapterInfo[]> {
    await this.#scan();
    return this.list();
  }

  /**
   * The resident adapter, loaded if need be; callers of one adapter share one load.
   *
   * @throws MosError `not_found` for a name that is not registered, `bad_adapter` for one that cannot be used, `busy`
   * where pinned adapters leave no room, `cancelled` once the manager is closed.
   */
  async acquire(name: string): Promise<AdapterLease> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      if (this.#closed)
        throw new MosError("cancelled", `the request for adapter ${JSON.stringify(name)} was cancelled`);
      const adapter = this.#registry.get(name);
      const pinned = await this.#pin(adapter);
      if (pinned !== undefined) return createLease(adapter, pinned, this.#options.shapes);
      this.#registry.invalidate(name);
      await this.#scan();
    }
    throw new MosError(
      "busy",
      `adapter ${JSON.stringify(name)} keeps changing while being read; retry when it is complete`,
    );
  }

  stats(): Omit<EngineStats["adapters"], "active" | "activeBytes" | "activeLimit" | "slotBytes"> {
    const residentDigests = this.#resident.digests;
    return {
      registered: this.#registry.list().length,
      resident: residentDigests.length,
      residentDigests,
      residentBytes: this.#resident.bytes,
      residentLimit: this.#options.limitBytes,
      ...this.#resident.counts,
      failures: this.#registry.failures,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#resident.clear();
    await this.#registry.close();
  }

  /** Undefined where the folder has changed since it was scanned. */
  async #pin(adapter: RegisteredAdapter): Promise<Pinned | undefined> {
    try {
      return await this.#resident.pin(adapter);
    } catch (error) {
      if (mayBeStale(error)) return undefined;
      if (!isBroken(error)) throw error;
      // it may be a mixture of two contents
      const now = await folderVersion(adapter.path).catch(() => undefined);
      if (now?.text !== adapter.version) return undefined;
      throw this.#markBroken(adapter, error);
    }
  }

  #markBroken(adapter: RegisteredAdapter, cause: MosError): MosError {
    const failure = this.#registry.markBroken(adapter, cause);
    this.#report();
    return failure;
  }

  #report(): void {
    if (this.#closed) return;
    this.#resident.dropUnregistered();
    // an engine that is still being opened has the list of the first scan, and listens afterwards
    if (this.#listener === undefined) return;
    const summary = this.#summary();
    if (summary === this.#reported) return;
    this.#reported = summary;
    this.#listener(this.list(), this.refused());
  }

  #summary(): string {
    return JSON.stringify([this.list().map(({ name, digest }) => [name, digest]), this.refused()]);
  }

  #schedule(): void {
    const seconds = this.#options.pollSeconds ?? POLL_SECONDS;
    if (seconds === 0 || this.#closed) return;
    const timer = setTimeout(() => {
      // a folder that cannot be listed now is scanned again later; until then the list stays as it was
      this.#scan()
        .catch(() => undefined)
        .finally(() => this.#schedule());
    }, seconds * 1000);
    this.#timer = unref(timer);
  }
}

/** The adapters of a folder: registered by name, and resident in memory in a compact form as far as a limit allows. */
export type AdapterManager = Omit<Manager, "open">;

/**
 * Registers the adapters of a folder, and polls it for changes. Dispose it; leases that are still held stay valid.
 *
 * @throws MosError `not_found` or `storage` for the folder, `cancelled`.
 */
export async function openAdapterManager(options: AdapterManagerOptions): Promise<AdapterManager> {
  const manager = new Manager(options);
  await manager.open();
  return manager;
}
