// Which request has which row. A row is one place in the cache and one adapter slot; what a request leaves behind in both
// serves the next one that begins alike.

import type { AdapterLease } from "./adapters/index.ts";
import { bytesPerPosition, capacityFor } from "./kv-cache.ts";
import type { ModelRunner } from "./model-runner.ts";
import { planMoves } from "./plan.ts";
import type { Sequence } from "./sequence.ts";
import { type RowContent, type SharedBeginning, sharedLength } from "./share-beginnings.ts";

/** A request with a row. */
export interface Occupant {
  /** Those that got their first row earlier have a lower one. */
  readonly order: number;
  readonly sequence: Sequence;
  /** undefined is the base. */
  readonly lease: AdapterLease | undefined;
}

export interface RowsOptions {
  /** Rows that run side by side. */
  readonly maxRows: number;
  /** Bytes of keys and values of all rows. */
  readonly cacheLimit: number;
  /** Bytes of the slots of all rows. */
  readonly slotLimit: number;
}

/** What a row's cache and slot hold, whoever has the row. */
interface Held {
  /** Whose keys and values these are: the adapter's digest, null for the base. */
  digest: string | null;
  tokens: readonly number[];
  /** Whose prompt it was: nobody else's is shortened by it. */
  tenant: string;
  /** Whose factors are in the slot; undefined if nobody's. */
  slot: string | null | undefined;
}

const digestOf = (lease: AdapterLease | undefined): string | null => lease?.digest ?? null;

/** How many tokens of a row's content a request can go on from. */
const sharedBy = ({ digest, tenant, tokens }: Held, { lease, sequence }: Occupant): number =>
  digest === digestOf(lease) && tenant === sequence.request.tenant
    ? sharedLength(tokens, sequence.tokens)
    : 0;

/** Tokens of the longest with its next one. */
const longestOf = (occupants: readonly Occupant[]): number =>
  Math.max(...occupants.map(({ sequence }) => sequence.tokens.length + 1));

/** Of the slots that these need. */
const rankOf = (occupants: readonly Occupant[]): number =>
  Math.max(1, ...occupants.map(({ lease }) => lease?.rank ?? 0));

/** The rows of an engine. */
export class Rows<T extends Occupant> {
  readonly #program: ModelRunner;
  readonly #options: RowsOptions;
  readonly #bytesPerPosition: number;
  readonly #taken: (T | undefined)[] = [];
  readonly #held: Held[] = [];

  constructor(program: ModelRunner, options: RowsOptions) {
    this.#program = program;
    this.#options = options;
    this.#bytesPerPosition = bytesPerPosition(program.config);
  }

  get count(): number {
    return this.#taken.filter((one) => one !== undefined).length;
  }

  /** Rows that are taken, with who has them. */
  entries(): readonly (readonly [number, T])[] {
    return this.#taken.flatMap((one, row) => (one === undefined ? [] : [[row, one] as const]));
  }

  /** Tokens of a row that the cache holds. */
  computed(row: number): number {
    return this.#program.cache.lengths[row] ?? 0;
  }

  /** Whether one more request fits beside those that have rows. */
  fits(occupant: Occupant): boolean {
    return this.#haveRoom([...this.#occupants(), occupant]);
  }

  /** Whether a request would fit if it were the only one. */
  fitsAlone(occupant: Occupant): boolean {
    return this.#haveRoom([occupant]);
  }

  /**
   * Gives a row to a request that fits: the free one whose content serves it best. Where that throws, it has no row, and
   * `refill` is due.
   */
  place(occupant: T): void {
    // fewer slots of a larger rank fit, so the rows that are taken have to be the first ones
    if (rankOf([...this.#occupants(), occupant]) > this.#program.slots.rank) this.compact();
    const row = this.#choose(occupant);
    this.#taken[row] = occupant;
    try {
      this.#makeRoom(row);
    } catch (cause) {
      this.#taken[row] = undefined;
      throw cause;
    }
    const held = this.#heldAt(row);
    const { firstWanted, request } = occupant.sequence;
    const shared = sharedBy(held, occupant);
    this.#program.cache.truncate(row, Math.min(shared, firstWanted, this.computed(row)));
    held.digest = digestOf(occupant.lease);
    held.tenant = request.tenant;
    held.tokens = [];
  }

  /** What every row holds, and what those that are taken are going to hold. */
  contents(): readonly RowContent[] {
    return Array.from({ length: this.#program.cache.slots }, (_, row) => {
      const { digest, tenant, tokens } = this.#heldAt(row);
      const content = { row, owner: JSON.stringify([digest, tenant]), computed: this.computed(row) };
      const taken = this.#taken[row];
      if (taken === undefined) return { ...content, tokens };
      const { tokens: all, firstWanted } = taken.sequence;
      return { ...content, tokens: all, reader: { order: taken.order, firstWanted } };
    });
  }

  /** Copies what another row has computed, so that this one need not. */
  copyBeginning({ from, to, length }: SharedBeginning): void {
    this.#program.cache.move(from, to, length);
  }

  /** Fills the slots of rows that lack their adapter. */
  refill(): void {
    for (const [row] of this.entries()) this.#fill(row);
  }

  /** Takes a row back; its content stays for a request that begins alike. */
  release(row: number): void {
    const occupant = this.#taken[row];
    if (occupant === undefined) return;
    this.#heldAt(row).tokens = occupant.sequence.tokens.slice(0, this.computed(row));
    this.#taken[row] = undefined;
  }

  /** Closes gaps between taken rows, so that a step covers none in vain. */
  compact(): void {
    for (const { from, to } of planMoves(this.entries().map(([row]) => row))) {
      this.#program.cache.move(from, to);
      this.#program.slots.move(from, to);
      const held = this.#heldAt(from);
      this.#held[to] = { ...held };
      held.tokens = [];
      this.#program.cache.truncate(from, 0);
      this.#taken[to] = this.#taken[from];
      this.#taken[from] = undefined;
    }
  }

  /** Makes room for so many tokens in the longest row. False where the limit of bytes is in the way. */
  reserve(tokens: number): boolean {
    const { cache } = this.#program;
    const needed = capacityFor(tokens);
    if (needed <= cache.capacity) return true;
    const rows = Math.max(1, ...this.entries().map(([row]) => row + 1));
    const affordable = Math.floor(this.#options.cacheLimit / (this.#bytesPerPosition * rows));
    if (needed > affordable) return false;
    // a step reads all places: growing often costs less than reading many that are empty
    const roomy = Math.min(capacityFor(Math.floor(cache.capacity * 1.125)), affordable);
    this.#resizeCache(rows, Math.max(needed, roomy));
    return true;
  }

  /** Gives memory back that only longer requests or larger ranks needed. */
  trim(): void {
    const { cache, slots } = this.#program;
    if (this.count === 0) return;
    const places = capacityFor(2 * longestOf(this.#occupants()));
    if (cache.capacity > 2 * places) this.#resizeCache(cache.slots, places);
    const rank = rankOf(this.#occupants());
    if (slots.rank >= 2 * rank) this.#resizeSlots(slots.count, rank);
  }

  /** Takes all rows back and forgets what they hold, after a failure that may have left anything half done. */
  reset(): void {
    this.#taken.length = 0;
    this.#held.length = 0;
    this.#program.cache.resize(0, 0);
    this.#program.slots.resize(0, 0);
  }

  #occupants(): readonly T[] {
    return this.entries().map(([, occupant]) => occupant);
  }

  #haveRoom(occupants: readonly Occupant[]): boolean {
    const { maxRows, cacheLimit, slotLimit } = this.#options;
    const rows = occupants.length;
    return (
      rows <= maxRows &&
      rows * capacityFor(longestOf(occupants)) * this.#bytesPerPosition <= cacheLimit &&
      rows * rankOf(occupants) * this.#program.slots.bytesPerRank <= slotLimit
    );
  }

  /** Room in cache and slots for a row that was just taken, with its adapter in the slot. */
  #makeRoom(row: number): void {
    const { cache, slots } = this.#program;
    const rank = rankOf(this.#occupants());
    const rows = Math.max(cache.slots, row + 1);
    const isRoomy = rows * cache.capacity * this.#bytesPerPosition <= this.#options.cacheLimit;
    this.#resizeCache(
      rows,
      isRoomy && cache.capacity > 0 ? cache.capacity : capacityFor(longestOf(this.#occupants())),
    );
    if (row >= slots.count || rank > slots.rank)
      this.#resizeSlots(Math.min(cache.slots, this.#slotsOf(rank)), rank);
    this.#fill(row);
  }

  /** Slots of this rank that the limit allows. */
  #slotsOf(rank: number): number {
    return Math.floor(this.#options.slotLimit / (rank * this.#program.slots.bytesPerRank));
  }

  #heldAt(row: number): Held {
    this.#held[row] ??= { digest: null, tokens: [], tenant: "", slot: undefined };
    return this.#held[row] as Held;
  }

  /** The free row that spares most work: a shared beginning first, then factors in place, then the lowest. */
  #choose(occupant: Occupant): number {
    const digest = digestOf(occupant.lease);
    const gain = (row: number): number => {
      const held = this.#heldAt(row);
      return sharedBy(held, occupant) + (held.slot === digest ? 0.5 : 0);
    };
    const rows = Math.min(this.#program.cache.slots, this.#slotsOf(rankOf([...this.#occupants(), occupant])));
    const free = Array.from({ length: rows }, (_, row) => row).filter(
      (row) => this.#taken[row] === undefined,
    );
    const [first] = free;
    if (first === undefined) return this.#program.cache.slots;
    return free.reduce((best, row) => (gain(row) > gain(best) ? row : best), first);
  }

  /** Rows grow by doubling where that fits. */
  #resizeCache(needed: number, places: number): void {
    const { cache } = this.#program;
    const { maxRows, cacheLimit } = this.#options;
    const doubled = Math.min(maxRows, Math.max(needed, 2 * cache.slots));
    const rows =
      needed <= cache.slots || doubled * places * this.#bytesPerPosition > cacheLimit ? needed : doubled;
    for (let row = 0; row < cache.slots; row++)
      if (row >= rows || this.computed(row) > places) this.#drop(row);
    cache.resize(rows, places);
  }

  #drop(row: number): void {
    this.#heldAt(row).tokens = [];
    this.#program.cache.truncate(row, 0);
  }

  /** All slots are empty afterwards; those of rows that are taken are filled again. */
  #resizeSlots(rows: number, rank: number): void {
    for (const held of this.#held) held.slot = undefined;
    this.#program.slots.resize(rows, rank);
    this.refill();
  }

  #fill(row: number): void {
    const held = this.#heldAt(row);
    const lease = this.#taken[row]?.lease;
    const digest = digestOf(lease);
    if (held.slot === digest) return;
    held.slot = undefined;
    if (lease === undefined) this.#program.slots.clear(row);
    else this.#program.slots.fill(row, lease.expand());
    held.slot = digest;
  }
}
