// Compact adapters in memory by the digest of their content; the least recently used is evicted first.
import { type AdapterTensor, drawSeeded, drawTensor, openAdapterFolder } from "#adapters";
import { limitConcurrency, MosError } from "#common";
import { type CompactAdapter, listSharedTensors, packAdapter, type SharedTensor } from "./compact-adapter.ts";
import type { AdapterManagerOptions, RegisteredAdapter } from "./registry.ts";

/** An adapter in memory, or on its way there. */
interface Entry {
  readonly digest: string;
  /** Its own; what it shares is counted once for all. */
  readonly bytes: number;
  readonly shared: readonly SharedTensor[];
  pins: number;
  /** Undefined while it is being loaded. */
  compact: CompactAdapter | undefined;
  /** False where the folder holds another content by now. */
  loading: Promise<boolean>;
}

const isIdle = ({ pins, compact }: Entry): boolean => pins === 0 && compact !== undefined;

/** Bytes of these together: each shared tensor counts once. */
function countBytes(entries: readonly Pick<Entry, "bytes" | "shared">[]): number {
  const shared = new Map(entries.flatMap((entry) => entry.shared.map(({ key, bytes }) => [key, bytes])));
  return [...shared.values(), ...entries.map(({ bytes }) => bytes)].reduce((a, b) => a + b, 0);
}

export interface Pinned {
  readonly compact: CompactAdapter;
  readonly shared: ReadonlyMap<string, AdapterTensor>;
  release(): void;
}

const MAX_LOADS = 4;

interface ResidentOptions extends Omit<AdapterManagerOptions, "source"> {
  /** Tests whether a content is still registered. */
  readonly isRegistered: (digest: string) => boolean;
  /** Tests whether a content could not be loaded again (none): it is evicted last. */
  readonly isOnlyCopy?: (digest: string) => boolean;
}

export class ResidentCache {
  readonly counts = { hits: 0, misses: 0, evictions: 0, loads: 0, loadSeconds: 0 };
  readonly #options: ResidentOptions;
  /** The least recently used comes first. */
  readonly #entries = new Map<string, Entry>();
  readonly #shared = new SharedTensors();
  readonly #limited = limitConcurrency(MAX_LOADS);
  #ownBytes = 0;

  constructor(options: ResidentOptions) {
    this.#options = options;
  }

  get bytes(): number {
    return this.#ownBytes + this.#shared.bytes;
  }

  has(digest: string): boolean {
    return this.#entries.get(digest)?.compact !== undefined;
  }

  get digests(): readonly string[] {
    return [...this.#entries.values()].flatMap(({ digest, compact }) =>
      compact === undefined ? [] : [digest],
    );
  }

  /**
   * Pins an adapter, loaded if need be; undefined where its folder holds another content by now.
   * Throws `busy`, `bad_adapter`, and what reading throws.
   */
  async pin(adapter: RegisteredAdapter): Promise<Pinned | undefined> {
    const entry = this.#entries.get(adapter.info.digest) ?? this.#admit(adapter);
    if (entry.compact === undefined) this.counts.misses++;
    else this.counts.hits++;
    this.#entries.delete(entry.digest);
    this.#entries.set(entry.digest, entry);
    entry.pins++; // before waiting, or another could evict it in between
    try {
      const loaded = entry.compact !== undefined || (await entry.loading);
      if (loaded && entry.compact !== undefined) return this.#pinned(entry, entry.compact);
    } catch (error) {
      this.#unpin(entry);
      throw error;
    }
    this.#unpin(entry);
    return undefined;
  }

  /** Frees contents that are no longer registered. */
  dropUnregistered(): void {
    for (const entry of this.#entries.values()) this.#dropIfUnregistered(entry);
  }

  /** Waits for loads and frees everything; pinned adapters stay until their leases end. */
  async clear(): Promise<void> {
    await Promise.allSettled([...this.#entries.values()].map(({ loading }) => loading));
    for (const entry of this.#entries.values()) this.#remove(entry);
  }

  #pinned(entry: Entry, compact: CompactAdapter): Pinned {
    const { seed } = compact.config;
    return {
      compact,
      shared: new Map(entry.shared.map((tensor) => [tensor.spec.name, this.#shared.get(tensor, seed)])),
      release: () => this.#unpin(entry),
    };
  }

  #unpin(entry: Entry): void {
    entry.pins--;
    this.#dropIfUnregistered(entry);
  }

  #dropIfUnregistered(entry: Entry): void {
    if (isIdle(entry) && !this.#options.isRegistered(entry.digest)) this.#remove(entry);
  }

  #remove(entry: Entry): void {
    if (this.#entries.get(entry.digest) !== entry) return;
    this.#entries.delete(entry.digest);
    this.#ownBytes -= entry.bytes;
    this.#shared.release(entry.shared);
  }

  /** Makes room and starts the load. Throws `busy`. */
  #admit(adapter: RegisteredAdapter): Entry {
    const { info, config } = adapter;
    const shared = listSharedTensors(config, this.#options.shapes);
    this.#evict(info.name, info.residentBytes, shared);
    this.#ownBytes += info.residentBytes;
    this.#shared.acquire(shared);
    const entry: Entry = {
      digest: info.digest,
      bytes: info.residentBytes,
      shared,
      pins: 0,
      compact: undefined,
      loading: Promise.resolve(false),
    };
    this.#entries.set(entry.digest, entry);
    entry.loading = this.#limited(() => this.#load(adapter, entry));
    // waiting callers get the error; without any it must not be an unhandled rejection
    entry.loading.catch(() => undefined);
    return entry;
  }

  /** Evicts what is idle until an adapter fits, or nothing where it would not fit even then. */
  #evict(name: string, own: number, shared: readonly SharedTensor[]): void {
    const { limitBytes, isOnlyCopy = () => false } = this.#options;
    const kept = [...this.#entries.values()].filter((entry) => !isIdle(entry));
    if (countBytes([...kept, { bytes: own, shared }]) > limitBytes)
      throw new MosError(
        "busy",
        `adapters in use take ${countBytes(kept)} of the ${limitBytes} bytes for adapters, and ${JSON.stringify(name)} takes ${own}; try again later`,
      );
    const isLast = ({ digest }: Entry): number => Number(isOnlyCopy(digest));
    const idle = [...this.#entries.values()].filter(isIdle).sort((a, b) => isLast(a) - isLast(b));
    for (const entry of idle) {
      if (this.bytes + own + this.#shared.missingBytes(shared) <= limitBytes) return;
      this.#remove(entry);
      this.counts.evictions++;
    }
  }

  async #load(adapter: RegisteredAdapter, entry: Entry): Promise<boolean> {
    const { now } = this.#options;
    const start = now();
    try {
      entry.compact = await this.#read(adapter, entry);
    } finally {
      if (entry.compact === undefined) this.#remove(entry);
    }
    if (entry.compact === undefined) return false;
    this.counts.loads++;
    this.counts.loadSeconds += (now() - start) / 1000;
    this.#dropIfUnregistered(entry);
    return true;
  }

  async #read(
    { info: { digest }, path, version }: RegisteredAdapter,
    entry: Entry,
  ): Promise<CompactAdapter | undefined> {
    const { shapes, dtype } = this.#options;
    // only a digest of what is in memory says what will be parsed
    await using folder = await openAdapterFolder(path, { inMemory: true });
    if (folder.version.text !== version || (await folder.digest()) !== digest) return undefined;
    // the fingerprint was compared when this content was registered
    const opened = await folder.check({ shapes, fingerprint: undefined });
    const byName = new Map(entry.shared.map((tensor) => [tensor.spec.name, tensor]));
    const loaded = await opened.read((spec, seed) => {
      const shared = byName.get(spec.name);
      return this.#shared.draw(shared ?? { key: spec.name, spec, bytes: 0 }, seed);
    });
    return await packAdapter(loaded, dtype);
  }
}

/** Tensors that several adapters use, each kept while one of them is resident. */
export class SharedTensors {
  /** Bytes of all that are held. */
  bytes = 0;
  readonly #shared = new Map<
    string,
    { holders: number; tensor?: AdapterTensor; drawing?: Promise<AdapterTensor> }
  >();

  /** Bytes that holding these would add. */
  missingBytes(tensors: readonly SharedTensor[]): number {
    return tensors.reduce((sum, { key, bytes }) => sum + (this.#shared.has(key) ? 0 : bytes), 0);
  }

  acquire(tensors: readonly SharedTensor[]): void {
    this.bytes += this.missingBytes(tensors);
    for (const { key } of tensors) {
      const found = this.#shared.get(key);
      if (found === undefined) this.#shared.set(key, { holders: 1 });
      else found.holders++;
    }
  }

  release(tensors: readonly SharedTensor[]): void {
    for (const { key, bytes } of tensors) {
      const found = this.#shared.get(key);
      if (found === undefined || --found.holders > 0) continue;
      this.#shared.delete(key);
      this.bytes -= bytes;
    }
  }

  /** Draws the content before it is needed, a part at a time; those who wait for it share the work. */
  async draw({ key, spec }: SharedTensor, seed: number): Promise<AdapterTensor> {
    const found = this.#shared.get(key);
    if (found === undefined) return await drawSeeded(spec, seed);
    found.drawing ??= drawSeeded(spec, seed);
    found.tensor ??= await found.drawing;
    return found.tensor;
  }

  /** The content, drawn now where it was not before. */
  get({ key, spec }: SharedTensor, seed: number): AdapterTensor {
    const found = this.#shared.get(key);
    const tensor = found?.tensor ?? drawTensor(spec, seed);
    if (found !== undefined) found.tensor = tensor;
    return tensor;
  }
}
