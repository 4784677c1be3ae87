// An adapter manager over factors in memory, for tests of the engine.
import type { ExpandedFactors } from "#adapters";
import { MosError } from "#common";
import type { AdapterManager } from "../../src/inference/adapters/manager.ts";

export interface MemoryAdapters extends AdapterManager {
  /** Replaces the factors of a name; the digest changes too. */
  replace(name: string, factors: ReadonlyMap<string, ExpandedFactors>): void;
  readonly leases: () => number;
}

const NO_COUNTS = {
  residentBytes: 0,
  residentLimit: 0,
  residentDigests: [],
  hits: 0,
  misses: 0,
  evictions: 0,
  loads: 0,
  loadSeconds: 0,
  failures: 0,
};

/** Acquiring an adapter takes as long as `load`. */
export function memoryAdapters(
  adapters: ReadonlyMap<string, ReadonlyMap<string, ExpandedFactors>>,
  load: (name: string) => Promise<unknown> | undefined = () => undefined,
): MemoryAdapters {
  const known = new Map([...adapters].map(([name, factors]) => [name, { digest: `${name}@1`, factors }]));
  let leases = 0;
  let version = 1;
  return {
    list: () => [],
    refused: () => [],
    onChange: () => undefined,
    refresh: async () => [],
    leases: () => leases,
    replace(name, factors) {
      version++;
      known.set(name, { digest: `${name}@${version}`, factors });
    },
    async acquire(name) {
      // loads under way count too
      leases++;
      await load(name);
      const found = known.get(name);
      if (found === undefined) {
        leases--;
        throw new MosError("not_found", `no adapter ${name}`);
      }
      let isHeld = true;
      return {
        name,
        digest: found.digest,
        rank: Math.max(...[...found.factors.values()].map(({ rank }) => rank)),
        expand: () => found.factors,
        [Symbol.dispose]() {
          if (isHeld) leases--;
          isHeld = false;
        },
      };
    },
    stats: () => ({ ...NO_COUNTS, registered: known.size, resident: known.size }),
    [Symbol.asyncDispose]: async () => undefined,
  };
}
