// What a core says of itself: its requests and its memory at one moment.
import { process } from "#platform";
import type { AdapterManager } from "./adapters/manager.ts";
import type { ModelRunner } from "./model-runner.ts";
import type { Placement, PlacementLimits } from "./placement.ts";
import type { Sequence } from "./sequence.ts";
import type { EngineStats, GrammarStats } from "./types.ts";

/** Its client compiles grammars, and counts that. */
export type CoreStats = Omit<EngineStats, "grammars"> & {
  readonly grammars: Pick<GrammarStats, "resident" | "residentBytes" | "masks" | "matchSeconds">;
};

interface MeasuredParts {
  readonly runner: ModelRunner;
  readonly adapters: AdapterManager;
  readonly limits: PlacementLimits;
  readonly placement: Placement;
  /** Sequences without a slot. */
  readonly waiting: readonly Sequence[];
}

/** The requests and the memory of an engine now. */
export function measureEngine({ runner, adapters, limits, placement, waiting }: MeasuredParts) {
  const { cache, slots } = runner;
  const running = placement.sequences();
  const active = new Set(running.flatMap(({ digest }) => (digest === null ? [] : [digest])));
  const adapterOf = ({ request }: Sequence): string | null => request.adapter;
  const isPrefilling = ([slot, { tokens, needsAll, embeds }]: readonly [number, Sequence]): boolean =>
    needsAll || embeds || tokens.length - placement.computed(slot) > 1;
  return {
    waiting: waiting.length,
    running: running.length,
    waitingAdapters: countBy(waiting, adapterOf),
    runningAdapters: countBy(running, adapterOf),
    waitingTenants: countBy(waiting, ({ request }) => request.tenant),
    prefilling: placement.entries().filter(isPrefilling).length,
    maxBatch: limits.maxBatch,
    process: { pid: process.pid, bytes: process.memoryUsage.rss() },
    cache: {
      bytes: cache.bytes,
      usedBytes: cache.lengths.reduce((sum, tokens) => sum + tokens, 0) * cache.bytesPerPosition,
      limitBytes: limits.cacheMemory,
    },
    adapters: {
      ...adapters.stats(),
      active: active.size,
      activeBytes: slots.bytes,
      activeLimit: limits.slotMemory,
      slotBytes: slots.bytes / Math.max(1, slots.count),
    },
  };
}

/** Sequences by the name of their adapter or tenant. */
function countBy(
  sequences: readonly Sequence[],
  nameOf: (sequence: Sequence) => string | null,
): Readonly<Record<string, number>> {
  const counts = new Map<string, number>();
  for (const sequence of sequences) {
    const name = nameOf(sequence);
    if (name !== null) counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return Object.fromEntries(counts);
}
