// The contract between the engine and its adapters on disk and in memory.
import type { BaseMarks, ExpandedFactors, LayerShapes } from "#adapters";
import type { AdapterInfo, RefusedAdapter } from "../types.ts";

/** Type of trained parameters in memory. */
export type ResidentDtype = "float32" | "bfloat16";

/** Options of an adapter manager: its base, and the limits of its memory. */
export interface AdapterManagerOptions {
  /** A folder, where every sub-folder with an adapter_config.json is an adapter of that name, or folders by name. */
  readonly source: string | Readonly<Record<string, string>>;
  readonly shapes: LayerShapes;
  /** Fingerprint of the base; adapters that name another fingerprint and another identity are `bad_adapter`. */
  readonly fingerprint: string;
  readonly identity?: string | undefined;
  readonly tokens?: BaseMarks["tokens"];
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

/** Counts at one moment, and since the manager was opened. */
export interface AdapterManagerStats {
  readonly registered: number;
  readonly resident: number;
  /** With tensors that several adapters share, each counted once, and with what is being loaded. */
  readonly residentBytes: number;
  readonly residentLimit: number;
  /** `acquire` found the adapter resident, or not. */
  readonly hits: number;
  readonly misses: number;
  readonly evictions: number;
  readonly loads: number;
  readonly loadSeconds: number;
  /** Folders that were found broken, and loads that failed. */
  readonly failures: number;
}

/** Is told which adapters there are, and which folders cannot be used. */
export type AdaptersListener = (adapters: readonly AdapterInfo[], refused: readonly RefusedAdapter[]) => void;

/** The adapters of a folder: registered by name, and resident in memory in a compact form as far as a limit allows. */
export interface AdapterManager extends AsyncDisposable {
  /** As last seen in the folder, by name. */
  list(): readonly AdapterInfo[];
  /** Sub-folders that cannot be used, as last seen, by name. */
  refused(): readonly RefusedAdapter[];
  /** Calls the listener after every scan that changed either list. */
  onChange(listener: AdaptersListener): void;
  /** Scans the folder now. */
  refresh(): Promise<readonly AdapterInfo[]>;
  /**
   * The resident form, loaded if need be; callers of one adapter share one load.
   *
   * @throws MosError `not_found` for a name that is not registered, `bad_adapter` for one that cannot be used, `busy`
   * where pinned adapters leave no room, `cancelled` by the signal.
   */
  acquire(name: string, options?: { readonly signal?: AbortSignal | undefined }): Promise<AdapterLease>;
  stats(): AdapterManagerStats;
}

/** Pins an adapter's resident form until it is disposed. A replaced or removed adapter stays in memory for its leases. */
export interface AdapterLease extends Disposable {
  readonly name: string;
  /** Digest of the leased content, which the folder may no longer hold. */
  readonly digest: string;
  /** The largest rank of its factors. */
  readonly rank: number;
  /**
   * The factors of all sites by `moduleKey`, computed on this thread: A [r, in], Bᵀ [r, out], scale. The arrays may be
   * the resident ones or be shared between sites: copy them, never write into them.
   */
  expand(): ReadonlyMap<string, ExpandedFactors>;
}
