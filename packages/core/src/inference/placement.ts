// Assignment of sequences to slots. A slot is a row of the KV cache and an adapter slot; what a sequence leaves in both
// serves the next one with the same prefix or adapter.

import { type Deterministic, wholeParts } from "./deterministic.ts";
import type { ModelRunner } from "./model-runner.ts";
import type { Sequence } from "./sequence.ts";
import { capacityFor, type SlotFormat } from "./slots.ts";
import { lastSnapshotWithin, tokensToSnapshot } from "./states.ts";

export interface PlacementLimits {
  /** Sequences that run side by side. */
  readonly maxBatch: number;
  /** Bytes of keys and values. */
  readonly cacheMemory: number;
  /** Bytes of the factors of running adapters. */
  readonly slotMemory: number;
  /** Steps that depend on no other sequence, nor on what slots hold (none). */
  readonly deterministic?: Deterministic | undefined;
}

/** Contents of a slot's cache and factors, even while no sequence has the slot. */
interface SlotCache {
  /** Digest of the adapter that computed the keys and values; null for the base. */
  digest: string | null;
  tokens: readonly number[];
  /** Whose prompt it was: prefixes are shared within a tenant only. */
  tenant: string;
  /** Digest of the factors in the adapter slot; undefined if they are invalid. */
  factors: string | null | undefined;
}

/** Counts the tokens of a slot that a sequence begins with. */
const sharedTokens = ({ digest, tenant, tokens }: SlotCache, sequence: Sequence): number =>
  digest === sequence.digest && tenant === sequence.request.tenant
    ? sharedLength(tokens, sequence.tokens)
    : 0;

/** Tokens of the longest, with the next one where it may have one. */
const longestLength = (sequences: readonly Sequence[]): number =>
  Math.max(
    ...sequences.map(({ tokens, request: { prompt, maxTokens } }) =>
      Math.min(tokens.length + 1, prompt.length + maxTokens),
    ),
  );

/** With factors of rank 1 the runtime multiplies all rows at once, so that a draft would round otherwise than its tokens alone. */
const LEAST_RANK = 2;

/** The format that adapter slots need for these: shared factors where all adapters have the same. */
function formatFor(
  sequences: readonly Sequence[],
  { sharesFactors, rank: fixed }: Pick<ModelRunner, "sharesFactors"> & { readonly rank?: number | undefined },
): SlotFormat {
  if (fixed !== undefined) return { rank: fixed };
  const leases = sequences.flatMap(({ lease }) => lease ?? []);
  const keys = new Set(leases.map(({ shared }) => (sharesFactors ? shared?.key : undefined)));
  const rank = Math.max(LEAST_RANK, ...leases.map((lease) => lease.rank));
  const [key] = keys;
  // exactly their rank: smaller than the least one cannot be
  return keys.size === 1 && leases[0]?.rank === rank ? { rank, shared: key } : { rank };
}

/** Moves that fill the lowest free slots from the highest taken ones, so that a step covers no empty slot. */
export function planMoves(
  taken: readonly number[],
): readonly { readonly from: number; readonly to: number }[] {
  const slots = new Set(taken);
  const high = [...taken].filter((slot) => slot >= slots.size).sort((a, b) => b - a);
  const free = Array.from({ length: slots.size }, (_, slot) => slot).filter((slot) => !slots.has(slot));
  return high.map((from, i) => ({ from, to: free[i] as number }));
}

export class Placement {
  readonly #runner: ModelRunner;
  readonly #limits: PlacementLimits;
  readonly #taken: (Sequence | undefined)[] = [];
  readonly #held: SlotCache[] = [];

  constructor(runner: ModelRunner, limits: PlacementLimits) {
    this.#runner = runner;
    this.#limits = limits;
  }

  get count(): number {
    return this.#taken.filter((one) => one !== undefined).length;
  }

  entries(): readonly (readonly [number, Sequence])[] {
    return this.#taken.flatMap((one, slot) => (one === undefined ? [] : [[slot, one] as const]));
  }

  sequences(): readonly Sequence[] {
    return this.#taken.filter((one) => one !== undefined);
  }

  at(slot: number): Sequence | undefined {
    return this.#taken[slot];
  }

  /** Tokens of a slot that have keys and values. */
  computed(slot: number): number {
    return this.#runner.cache.lengths[slot] ?? 0;
  }

  /** How many tokens of a slot the next step may compute: up to where a state is worth keeping. */
  mostTokens(slot: number): number {
    const { cache, config } = this.#runner;
    const tokens = this.#taken[slot]?.tokens;
    if (tokens === undefined || cache.states.tensors.length === 0) return Number.POSITIVE_INFINITY;
    const kept = cache.states.lastSnapshot(slot);
    return tokensToSnapshot(tokens, { computed: this.computed(slot), kept, endTokens: config.eosTokens });
  }

  /** Drops keys and values behind the first tokens of a slot. */
  truncate(slot: number, tokens: number): void {
    if (tokens < this.computed(slot)) this.#runner.cache.truncate(slot, tokens);
  }

  /** Tests whether one more sequence fits beside those that have slots. */
  fits(sequence: Sequence): boolean {
    return this.#canGrow([...this.sequences(), sequence]);
  }

  /** Tests whether a sequence would fit if it were the only one. */
  fitsAlone(sequence: Sequence): boolean {
    return this.#canGrow([sequence]);
  }

  /**
   * Gives a slot to a sequence that fits: the free one whose content saves it most. Where that throws, it has none, and
   * `refill` is due.
   */
  place(sequence: Sequence): void {
    // fewer slots of a larger rank fit, so the taken ones have to come first
    if (this.#needsFormat([...this.sequences(), sequence])) this.compact();
    const slot = this.#choose(sequence);
    this.#taken[slot] = sequence;
    try {
      this.#growFor(slot);
    } catch (cause) {
      this.#taken[slot] = undefined;
      throw cause;
    }
    const held = this.#heldAt(slot);
    const shared = Math.min(sharedTokens(held, sequence), this.#promptOf(sequence).length);
    const kept = Math.min(shared, sequence.firstLogits, this.computed(slot));
    this.#runner.cache.truncate(slot, this.#shareable(kept));
    held.digest = sequence.digest;
    held.tenant = sequence.request.tenant;
    held.tokens = [];
  }

  /** Contents of every slot, including those that taken slots are going to hold. */
  contents(): readonly SlotContent[] {
    return Array.from({ length: this.#runner.cache.slots }, (_, slot) => {
      const { digest, tenant, tokens } = this.#heldAt(slot);
      const kept = (length: number): number => this.#shareable(this.#runner.cache.kept(slot, length));
      const content = { slot, owner: JSON.stringify([digest, tenant]), computed: this.computed(slot), kept };
      const sequence = this.#taken[slot];
      if (sequence === undefined) return { ...content, tokens };
      const { order, firstLogits } = sequence;
      const all = this.#promptOf(sequence);
      const coming = (length: number): number => this.#shareable(this.#coming(all, length));
      return { ...content, coming, tokens: all, reader: { order, firstLogits } };
    });
  }

  /** Copies keys and values that another slot has computed. */
  copyPrefix({ from, to, length }: PrefixCopy): void {
    this.#runner.cache.move(from, to, length);
  }

  /** Fills the adapter slots that lack their factors. */
  refill(): void {
    for (const [slot] of this.entries()) this.#fill(slot);
  }

  /** Frees a slot; its content stays for a sequence with the same prefix. */
  release(slot: number): void {
    const sequence = this.#taken[slot];
    if (sequence === undefined) return;
    this.#heldAt(slot).tokens = this.#promptOf(sequence).slice(0, this.computed(slot));
    this.#taken[slot] = undefined;
  }

  /** The tokens of a sequence that others may have in common with it: with deterministic steps, its prompt alone. */
  #promptOf({ tokens, request: { prompt } }: Sequence): readonly number[] {
    return this.#limits.deterministic === undefined ? tokens : prompt;
  }

  /** How many of `length` tokens in common are used: with deterministic steps, whole parts, and none of a state. */
  #shareable(length: number): number {
    const { deterministic } = this.#limits;
    if (deterministic === undefined) return length;
    return this.#runner.cache.states.tensors.length === 0 ? wholeParts(length, deterministic) : 0;
  }

  #formatFor(sequences: readonly Sequence[]): SlotFormat {
    const { sharesFactors } = this.#runner;
    return formatFor(sequences, { sharesFactors, rank: this.#limits.deterministic?.rank });
  }

  /** Closes the gaps between taken slots. */
  compact(): void {
    for (const { from, to } of planMoves(this.entries().map(([slot]) => slot))) {
      this.#runner.cache.move(from, to);
      this.#runner.slots.move(from, to);
      const held = this.#heldAt(from);
      this.#held[to] = { ...held };
      held.tokens = [];
      this.#runner.cache.truncate(from, 0);
      this.#taken[to] = this.#taken[from];
      this.#taken[from] = undefined;
    }
  }

  /** Makes room for this many tokens in the longest slot. False where the memory limit does not allow it. */
  reserve(tokens: number): boolean {
    const { cache } = this.#runner;
    const needed = capacityFor(tokens);
    if (needed <= cache.capacity) return true;
    const slots = Math.max(1, ...this.entries().map(([slot]) => slot + 1));
    const perSlot = this.#limits.cacheMemory / slots - this.#slotBytes(0);
    const affordable = Math.floor(perSlot / this.#runner.cache.bytesPerPosition);
    if (needed > affordable) return false;
    // a step reads the whole capacity: growing often costs less than reading much that is empty
    const roomy = Math.min(capacityFor(Math.floor(cache.capacity * 1.125)), affordable);
    this.#resizeCache(slots, Math.max(needed, roomy));
    return true;
  }

  /** Releases memory that only longer sequences or larger ranks needed. */
  trim(): void {
    const { cache, slots } = this.#runner;
    if (this.count === 0) return;
    const capacity = capacityFor(2 * longestLength(this.sequences()));
    if (cache.capacity > 2 * capacity) this.#resizeCache(cache.slots, capacity);
    const format = this.#formatFor(this.sequences());
    const allowed = this.#slotsFor(format);
    // factors that slots share may have room where those of each slot have none
    if (slots.rank < 2 * format.rank || this.count > allowed) return;
    this.compact();
    this.#resizeFactors(Math.min(slots.count, allowed), format);
  }

  /** Frees all slots and forgets their content, after a failure that may have left them in any state. */
  reset(): void {
    this.#taken.length = 0;
    this.#held.length = 0;
    this.#runner.cache.resize(0, 0);
    this.#runner.slots.resize(0, 0);
  }

  /** Tokens of a prompt's first `length` behind which its slot will keep what others can copy. */
  #coming(tokens: readonly number[], length: number): number {
    const { cache, config } = this.#runner;
    return cache.states.tensors.length === 0
      ? length
      : lastSnapshotWithin(tokens, { length, endTokens: config.eosTokens });
  }

  #slotBytes(capacity: number): number {
    return this.#runner.cache.bytesPerSlot(capacity);
  }

  #canGrow(sequences: readonly Sequence[]): boolean {
    const { maxBatch, cacheMemory, slotMemory } = this.#limits;
    const count = sequences.length;
    return (
      count <= maxBatch &&
      count * this.#slotBytes(capacityFor(longestLength(sequences))) <= cacheMemory &&
      count <= this.#runner.slots.slotsIn(slotMemory, this.#formatFor(sequences))
    );
  }

  /** Room for a slot that was just taken, in the cache and for its adapter's factors, which it gets. */
  #growFor(slot: number): void {
    const { cache, slots } = this.#runner;
    const format = this.#formatFor(this.sequences());
    const count = Math.max(cache.slots, slot + 1);
    const isRoomy = count * this.#slotBytes(cache.capacity) <= this.#limits.cacheMemory;
    this.#resizeCache(
      count,
      isRoomy && cache.capacity > 0 ? cache.capacity : capacityFor(longestLength(this.sequences())),
    );
    if (slot >= slots.count || this.#needsFormat(this.sequences()))
      this.#resizeFactors(Math.min(cache.slots, this.#slotsFor(format)), format);
    this.#fill(slot);
  }

  /** Adapter slots of this format that the limit allows. */
  #slotsFor(format: SlotFormat): number {
    return this.#runner.slots.slotsIn(this.#limits.slotMemory, format);
  }

  /** Tests whether the adapter slots have a format that these cannot use; the base can use any. */
  #needsFormat(sequences: readonly Sequence[]): boolean {
    return (
      sequences.some(({ lease }) => lease !== undefined) &&
      !this.#runner.slots.holds(this.#formatFor(sequences))
    );
  }

  #heldAt(slot: number): SlotCache {
    this.#held[slot] ??= { digest: null, tokens: [], tenant: "", factors: undefined };
    return this.#held[slot] as SlotCache;
  }

  /** The free slot that saves most work: a shared prefix first, then factors in place, then the lowest. */
  #choose(sequence: Sequence): number {
    const savedBy = (slot: number): number => {
      const held = this.#heldAt(slot);
      const shared = Math.min(sharedTokens(held, sequence), sequence.firstLogits);
      return this.#runner.cache.kept(slot, shared) + (held.factors === sequence.digest ? 0.5 : 0);
    };
    const allowed = this.#slotsFor(this.#formatFor([...this.sequences(), sequence]));
    const count = Math.min(this.#runner.cache.slots, allowed);
    const free = Array.from({ length: count }, (_, slot) => slot).filter(
      (slot) => this.#taken[slot] === undefined,
    );
    const [first] = free;
    if (first === undefined) return this.#runner.cache.slots;
    return free.reduce((best, slot) => (savedBy(slot) > savedBy(best) ? slot : best), first);
  }

  /** The number of slots grows by doubling where that fits. */
  #resizeCache(needed: number, capacity: number): void {
    const { cache } = this.#runner;
    const { maxBatch, cacheMemory } = this.#limits;
    const doubled = Math.min(maxBatch, Math.max(needed, 2 * cache.slots));
    const isEnough = needed <= cache.slots || doubled * this.#slotBytes(capacity) > cacheMemory;
    const count = isEnough ? needed : doubled;
    for (let slot = 0; slot < cache.slots; slot++)
      if (slot >= count || this.computed(slot) > capacity) this.#drop(slot);
    cache.resize(count, capacity);
    cache.states.limitSnapshots(cacheMemory - cache.bytes);
  }

  #drop(slot: number): void {
    this.#heldAt(slot).tokens = [];
    this.#runner.cache.truncate(slot, 0);
  }

  /** All adapter slots are empty afterwards; those of taken slots are filled again. */
  #resizeFactors(count: number, format: SlotFormat): void {
    for (const held of this.#held) held.factors = undefined;
    this.#runner.slots.resize(count, format.rank, format);
    this.refill();
  }

  #fill(slot: number): void {
    const held = this.#heldAt(slot);
    const lease = this.#taken[slot]?.lease;
    const digest = lease?.digest ?? null;
    if (held.factors === digest) return;
    held.factors = undefined;
    const { slots } = this.#runner;
    if (lease === undefined) slots.clear(slot);
    else slots.fill(slot, slots.shared === undefined ? lease.expand() : (lease.shared ?? lease).expand());
    held.factors = digest;
  }
}

/** Content of a slot, now or soon. */
export interface SlotContent {
  readonly slot: number;
  /** Slots of the same adapter's content and the same tenant share; others never do. */
  readonly owner: string;
  /** All tokens of the sequence that has the slot, or of the one that had it. */
  readonly tokens: readonly number[];
  /** Number of tokens with keys and values in the cache. */
  readonly computed: number;
  /** How many of its first `length` tokens can be copied (all). */
  readonly kept?: (length: number) => number;
  /** The same once all of its tokens are computed (all). */
  readonly coming?: (length: number) => number;
  /** For a slot that a sequence has. */
  readonly reader?: {
    /** Sequences were first scheduled in this order. */
    readonly order: number;
    /** The first position whose logits are needed: earlier keys and values may come from another slot. */
    readonly firstLogits: number;
  };
}

/** The first tokens of one slot, copied into another. */
interface PrefixCopy {
  readonly from: number;
  readonly to: number;
  readonly length: number;
}

/** Shared tokens from which on copying, or waiting for them, pays. */
const MIN_SHARED_TOKENS = 32;

function sharedLength(a: readonly number[], b: readonly number[]): number {
  const max = Math.min(a.length, b.length);
  let shared = 0;
  while (shared < max && a[shared] === b[shared]) shared++;
  return shared;
}

type Reader = SlotContent & { readonly reader: NonNullable<SlotContent["reader"]> };

const isReader = (content: SlotContent): content is Reader =>
  content.reader !== undefined && content.reader.firstLogits > content.computed;

/** Tokens that a reader could copy from another slot once that one has computed all of its own. */
const sharedWith = (other: SlotContent, { slot, owner, tokens, reader }: Reader): number =>
  other.slot === slot || other.owner !== owner
    ? 0
    : Math.min(sharedLength(other.tokens, tokens), reader.firstLogits);

/**
 * Plans the copies of prefixes between slots, in their order, and the slots that wait, since an earlier one is computing what they
 * need. The earliest reader never waits.
 */
export function planPrefixes(slots: readonly SlotContent[]) {
  const readers = slots.filter(isReader).sort((a, b) => a.reader.order - b.reader.order);
  const computed = new Map(slots.map(({ slot, computed: count }) => [slot, count]));
  const copies: PrefixCopy[] = [];
  const waiting = new Set<number>();
  for (const [i, reader] of readers.entries()) {
    const offers = slots.map(({ kept = (length) => length, ...other }) => ({
      from: other.slot,
      to: reader.slot,
      length: kept(Math.min(sharedWith(other, reader), computed.get(other.slot) ?? 0)),
    }));
    const best = offers.reduce((a, b) => (b.length > a.length ? b : a));
    const coming = Math.max(
      0,
      ...readers
        .slice(0, i)
        .map(({ coming: of = (length) => length, ...other }) => of(sharedWith(other, reader))),
    );
    const gain = best.length - reader.computed;
    // when nothing longer is coming, even a small gain is worth a copy
    if (
      gain >= MIN_SHARED_TOKENS ||
      (gain > 0 && best.length >= MIN_SHARED_TOKENS && best.length >= coming)
    ) {
      copies.push(best);
      computed.set(reader.slot, best.length);
    }
    if (coming >= MIN_SHARED_TOKENS && coming > (computed.get(reader.slot) ?? 0)) waiting.add(reader.slot);
  }
  return { copies, waiting };
}
