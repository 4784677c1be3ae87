// Decides what the engine computes next, as data: who gets a slot, who loses one, and which tokens each slot computes.
import { MosError } from "#common";
import type { AdapterManager } from "./adapters/manager.ts";
import { type Deterministic, nextPart } from "./deterministic.ts";
import { type Placement, planPrefixes } from "./placement.ts";
import type { Sequence } from "./sequence.ts";

/** A part of a prompt, computed in a step of its own. */
export interface PrefillPart {
  readonly slot: number;
  readonly tokens: number;
}

/** State of a slot that the plan of a step depends on. */
export interface SlotState {
  readonly slot: number;
  /** Sequences were first scheduled in this order. */
  readonly order: number;
  /** Tokens without keys and values in the cache; a slot that decodes has one. */
  readonly pending: number;
  /** The most tokens of one step. */
  readonly most?: number;
  /** Logits are needed at every token, so it is prefilled in parts even where one token is left. */
  readonly allLogits: boolean;
  /** Its last hidden state is needed, which decoding does not give. */
  readonly embeds: boolean;
}

/** Prompt tokens between two tokens of the slots that decode. */
export const PREFILL_CHUNK = 128;
/** Prompt tokens at a time when no slot decodes, where memory has room for them. */
export const LONE_PREFILL_CHUNK = 512;
/** Logits of prompt tokens that exist at a time, at most: 64 MiB, and twice while they are copied. */
const SCORING_LOGITS = 2 ** 24;

export type PrefillLimits = Readonly<ReturnType<typeof prefillLimits>>;

/** The limits of an engine whose model has so many tokens. */
export const prefillLimits = (vocabularySize: number, lonePrefillChunk = LONE_PREFILL_CHUNK) => ({
  prefillChunk: PREFILL_CHUNK,
  lonePrefillChunk,
  /** Prompt tokens at a time where logits are needed at each of them. */
  scoringChunk: Math.max(1, Math.min(PREFILL_CHUNK, Math.floor(SCORING_LOGITS / vocabularySize))),
});

/** Work of one step: the parts of prompts first, then one token of every slot in `decode`. */
type SchedulerOutput = ReturnType<typeof planStep>;

/** Prefills prompts in the order of their arrival, in chunks, and decodes every slot whose prompt is done. */
export function planStep(
  slots: readonly SlotState[],
  {
    prefillChunk,
    lonePrefillChunk,
    scoringChunk,
    deterministic,
  }: PrefillLimits & { readonly deterministic?: Deterministic | undefined },
) {
  const prefills = ({ pending, allLogits, embeds }: SlotState): boolean => pending > 1 || allLogits || embeds;
  const decode = slots.filter((one) => one.pending > 0 && !prefills(one)).map(({ slot }) => slot);
  let left = decode.length > 0 ? prefillChunk : lonePrefillChunk;
  const prefill: PrefillPart[] = [];
  for (const { slot, pending, most = pending, allLogits } of slots
    .filter(prefills)
    .sort((a, b) => a.order - b.order)) {
    // logits at every token are large, so such parts stay small
    const part = Math.min(pending, most, allLogits ? scoringChunk : lonePrefillChunk);
    const tokens = Math.min(part, left);
    if (tokens <= 0 || (deterministic !== undefined && tokens < part)) break;
    prefill.push({ slot, tokens });
    left -= tokens;
  }
  return { prefill, decode };
}

/** Share of the computed tokens that may be padding. */
const PADDING = 0.2;

/**
 * Parts of prompts that one step computes together: those of neighbouring slots that `canJoin`, of similar lengths, and at most
 * `limit` tokens with their padding.
 */
export function joinParts(
  parts: readonly PrefillPart[],
  { canJoin, limit }: { readonly canJoin: (slot: number) => boolean; readonly limit: number },
): readonly (readonly PrefillPart[])[] {
  const joined: PrefillPart[][] = [];
  for (const part of parts) {
    const last = joined.at(-1) ?? [];
    const all = [...last, part];
    const padded = all.length * Math.max(...all.map(({ tokens }) => tokens));
    const own = all.reduce((sum, { tokens }) => sum + tokens, 0);
    const isNext = last.at(-1)?.slot === part.slot - 1 && all.every(({ slot }) => canJoin(slot));
    if (isNext && padded <= limit && own >= (1 - PADDING) * padded) last.push(part);
    else joined.push([part]);
  }
  return joined;
}

interface SchedulerOptions {
  readonly placement: Placement;
  readonly adapters: AdapterManager;
  readonly limits: PrefillLimits & {
    readonly maxBatch: number;
    readonly deterministic?: Deterministic | undefined;
  };
  /** Called when loading an adapter has ended, well or not: there may be something to schedule. */
  readonly wake: () => void;
}

/** Waiting sequences that are considered for one step. */
const LOOKAHEAD = 1000;

/** The sequences that wait, and the decisions about those that run. */
export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #queue = new WaitingQueue<Sequence>();
  #nextOrder = 1;
  #loads = 0;
  /** An adapter found no memory, and none was released since. */
  #isMemoryTaken = false;

  constructor(options: SchedulerOptions) {
    this.#options = options;
  }

  /** Sequences without a slot. */
  waiting(): readonly Sequence[] {
    return [...this.#queue];
  }

  add(sequence: Sequence): void {
    this.#queue.push(sequence.request.tenant, sequence);
  }

  charge({ request: { tenant } }: Sequence, tokens: number): void {
    this.#queue.charge(tenant, tokens);
  }

  /** Takes the slot of a sequence that has ended. */
  release(slot: number): void {
    this.#options.placement.release(slot);
    this.#noteEnd();
  }

  /** Takes all slots, after a failure. */
  reset(): void {
    this.#options.placement.reset();
    this.#noteEnd();
  }

  /** Releases memory that is no longer needed. */
  trim(): void {
    this.#options.placement.trim();
    this.#queue.prune();
  }

  /** The next step; undefined if no sequence has a slot. */
  schedule(): SchedulerOutput | undefined {
    this.#dropCancelled();
    this.#admit();
    return this.#options.placement.count === 0 ? undefined : this.#plan();
  }

  #noteEnd(): void {
    this.#isMemoryTaken = false;
  }

  #dropCancelled(): void {
    for (const sequence of this.waiting().filter(({ isCancelled }) => isCancelled)) {
      this.#queue.remove(sequence.request.tenant, sequence);
      sequence.finish("cancelled");
      this.#noteEnd();
    }
    for (const [slot, sequence] of this.#options.placement.entries()) {
      if (!sequence.isCancelled) continue;
      sequence.finish("cancelled");
      this.release(slot);
    }
  }

  /**
   * Gives slots to waiting sequences, in the queue's order. Their adapters are loaded first. A sequence whose adapter is
   * loading holds up no other; one that does not fit into a slot's memory holds up those after it.
   */
  #admit(): void {
    const { placement, limits } = this.#options;
    let mayLoad = !this.#isMemoryTaken;
    for (const [index, sequence] of this.#queue.first(LOOKAHEAD).entries()) {
      const isNext = index < limits.maxBatch;
      if (placement.count === limits.maxBatch && !isNext) break;
      if (isNext && mayLoad && sequence.load === "none") this.#load(sequence);
      if (sequence.lacksMemory && sequence.load !== "ready") mayLoad = false;
      if (sequence.load === "ready" && !this.#place(sequence)) break;
    }
    placement.compact();
  }

  /** Gives a sequence a slot, or fails it. False where it has to wait for one. */
  #place(sequence: Sequence): boolean {
    const { placement } = this.#options;
    if (!placement.fits(sequence)) {
      if (placement.fitsAlone(sequence)) return false;
      this.#fail(sequence, tooLarge(sequence));
      return true;
    }
    this.#queue.remove(sequence.request.tenant, sequence);
    try {
      placement.place(sequence);
    } catch (cause) {
      sequence.fail(cause);
      this.#noteEnd();
      placement.refill();
      return true;
    }
    if (sequence.order === 0) {
      sequence.order = this.#nextOrder++;
      this.charge(sequence, sequence.tokens.length);
    }
    sequence.schedule();
    return true;
  }

  #load(sequence: Sequence): void {
    const { adapter } = sequence.request;
    if (adapter === null) return;
    sequence.load = "loading";
    this.#loads++;
    // without a signal: a load that was started is finished, and its memory counts until then
    this.#options.adapters
      .acquire(adapter)
      .then(
        (lease) => {
          this.#loads--;
          sequence.load = "ready";
          if (sequence.hasEnded) lease[Symbol.dispose]();
          else sequence.lease = lease;
          if (sequence.hasEnded) this.#noteEnd();
        },
        (cause: unknown) => {
          this.#loads--;
          if (sequence.hasEnded) this.#noteEnd();
          else this.#notLoaded(sequence, cause);
        },
      )
      .finally(this.#options.wake);
  }

  /** Memory is released when other sequences end; without others it never will be. */
  #notLoaded(sequence: Sequence, cause: unknown): void {
    const isHeld =
      this.#loads > 0 ||
      this.#options.placement.count > 0 ||
      this.waiting().some(({ lease }) => lease !== undefined);
    if (cause instanceof MosError && cause.code === "busy" && isHeld) {
      sequence.load = "none";
      sequence.lacksMemory = true;
      this.#isMemoryTaken = true;
    } else this.#fail(sequence, cause);
  }

  #fail(sequence: Sequence, cause: unknown): void {
    this.#queue.remove(sequence.request.tenant, sequence);
    sequence.fail(cause);
    this.#noteEnd();
  }

  /** A step that there is memory for: the youngest sequences are preempted where there is not. */
  #plan(): SchedulerOutput {
    const { placement, limits } = this.#options;
    for (;;) {
      const { copies, waiting } = planPrefixes(placement.contents());
      for (const copy of copies) placement.copyPrefix(copy);
      const running = placement.entries();
      const states = running.map(([slot, sequence]) => this.#slotState(slot, sequence));
      const output = planStep(
        states.filter(({ slot }) => !waiting.has(slot)),
        limits,
      );
      const parts = [...output.prefill, ...output.decode.map((slot) => ({ slot, tokens: 1 }))];
      // rows may all wait for their grammars
      const longest = Math.max(0, ...parts.map(({ slot, tokens }) => placement.computed(slot) + tokens));
      if (placement.reserve(longest) || running.length <= 1) return output;
      this.#preempt(running);
    }
  }

  #slotState(slot: number, sequence: Sequence): SlotState {
    const { tokens, order, needsAll, embeds } = sequence;
    const { deterministic } = this.#options.limits;
    const computed = this.#options.placement.computed(slot);
    const left = tokens.length - computed;
    return {
      slot,
      order,
      pending:
        deterministic === undefined ? left : Math.min(left, nextPart(sequence, computed, deterministic)),
      most: this.#options.placement.mostTokens(slot),
      allLogits: needsAll,
      embeds,
    };
  }

  /** Takes the youngest sequence's slot; it waits again, before all others of its tenant. */
  #preempt(running: ReturnType<Placement["entries"]>): void {
    const { placement } = this.#options;
    const youngest = running.reduce((a, b) => (b[1].order > a[1].order ? b : a));
    const [slot, sequence] = youngest;
    placement.release(slot);
    this.#queue.pushFirst(sequence.request.tenant, sequence);
    placement.compact();
  }
}

/** Its keys and values fit, or it would not have been accepted, so the adapter slot is too small. */
const tooLarge = ({ lease }: Sequence): MosError =>
  new MosError(
    "bad_option",
    `a slot for an adapter of rank ${Math.max(1, lease?.rank ?? 0)} does not fit into the engine's memory for slots; raise it with --slot-memory of mos serve`,
  );

interface Line<T> {
  readonly items: T[];
  /** Tokens served, raised when the tenant returns: idle time earns no credit. */
  served: number;
}

/** Waiting items by tenant. */
export class WaitingQueue<T> {
  readonly #lines = new Map<string, Line<T>>();
  /** Tokens served to the tenant whose queue emptied last: a tenant that finds all queues empty starts there. */
  #lastServed = 0;

  push(tenant: string, item: T): void {
    this.#waiting(tenant).push(item);
  }

  /** Puts an item before all others of its tenant: it was preempted. */
  pushFirst(tenant: string, item: T): void {
    this.#waiting(tenant).unshift(item);
  }

  remove(tenant: string, item: T): void {
    const line = this.#lines.get(tenant);
    const index = line?.items.indexOf(item) ?? -1;
    if (line === undefined || index < 0) return;
    line.items.splice(index, 1);
    if (line.items.length === 0) this.#lastServed = line.served;
  }

  /** Counts tokens that a tenant was served. */
  charge(tenant: string, tokens: number): void {
    const line = this.#lines.get(tenant);
    if (line !== undefined) line.served += tokens;
  }

  /** The first `count` items in the order in which they should get slots. */
  first(count: number): readonly T[] {
    const lines = [...this.#lines.values()]
      .filter(({ items }) => items.length > 0)
      .sort((a, b) => a.served - b.served);
    const chosen: T[] = [];
    for (let round = 0; chosen.length < count; round++) {
      const items = lines.flatMap((line) => line.items.slice(round, round + 1));
      if (items.length === 0) break;
      chosen.push(...items);
    }
    return chosen.slice(0, count);
  }

  *[Symbol.iterator](): Generator<T> {
    for (const { items } of this.#lines.values()) yield* items;
  }

  /** Forgets tenants without waiting items once there are very many. */
  prune(limit = 10_000): void {
    if (this.#lines.size <= limit) return;
    for (const [tenant, { items }] of this.#lines) if (items.length === 0) this.#lines.delete(tenant);
  }

  #waiting(tenant: string): T[] {
    const found = this.#lines.get(tenant);
    const line = found ?? { items: [], served: 0 };
    if (line.items.length === 0) line.served = Math.max(line.served, this.#least());
    if (found === undefined) this.#lines.set(tenant, line);
    return line.items;
  }

  /** The fewest tokens that any waiting tenant was served, where a new tenant starts. */
  #least(): number {
    let least = Number.POSITIVE_INFINITY;
    for (const { items, served } of this.#lines.values())
      if (items.length > 0) least = Math.min(least, served);
    return Number.isFinite(least) ? least : this.#lastServed;
  }
}
