// What layers of linear attention keep of a slot: a state that each step replaces, and snapshots of it, since a state cannot be
// taken back to fewer tokens as keys and values can.
// R slots

import type { HostTensor } from "mixture-of-shards-graph";
import { countElements } from "#common";
import { type ModelConfig, type StateTensor, stateTensors } from "#models";

/** Bytes of all snapshots at most, whatever memory is left. */
export const SNAPSHOT_MEMORY = 1e9;
/** Tokens between snapshots, where no message ends. */
const INTERVAL = 512;
/** The fewest tokens between snapshots at ends of messages: each costs a step of its own. */
const LEAST_TOKENS = 32;

/** The name of a state among the inputs of a step, and of what replaces it among the outputs. */
export const stateName = ({ layer, name }: Pick<StateTensor, "layer" | "name">): string =>
  `state.${layer}.${name}`;
export const nextName = (tensor: Pick<StateTensor, "layer" | "name">): string => `next.${stateName(tensor)}`;

/** Bytes of the state of one slot. */
export const stateBytes = (config: ModelConfig): number =>
  stateTensors(config).reduce((sum, tensor) => sum + countElements(tensor.shape), 0) *
  Float32Array.BYTES_PER_ELEMENT;

/** The state behind the first `length` tokens of a slot. Several slots may have the same one. */
interface Snapshot {
  readonly length: number;
  readonly data: readonly Float32Array[];
}

/** The states of all slots. Without layers that have one it holds nothing, and every number of tokens can be returned to. */
export class SlotStates {
  readonly tensors: readonly StateTensor[];
  /** Bytes of one slot. */
  readonly bytesPerSlot: number;
  #limit = SNAPSHOT_MEMORY;
  /** Of each tensor, [R, ...]. */
  #data: Float32Array[] = [];
  /** By slot, the shortest first. */
  #snapshots: Snapshot[][] = [];

  constructor(config: ModelConfig) {
    this.tensors = stateTensors(config);
    this.bytesPerSlot = stateBytes(config);
  }

  /** Gives snapshots so many bytes, or fewer. */
  limitSnapshots(bytes: number): void {
    this.#limit = Math.min(SNAPSHOT_MEMORY, bytes);
    this.#forget();
  }

  /** Tokens to which a slot that holds `held` can be cut back, at most `wanted`. */
  kept(slot: number, { held, wanted }: { readonly held: number; readonly wanted: number }): number {
    if (wanted >= held || this.tensors.length === 0) return Math.min(wanted, held);
    return this.#snapshots[slot]?.findLast((one) => one.length <= wanted)?.length ?? 0;
  }

  /** Tokens behind which a slot has its last snapshot; 0 where it has none. */
  lastSnapshot(slot: number): number {
    return this.#snapshots[slot]?.at(-1)?.length ?? 0;
  }

  /** The states of some slots as inputs of a step. */
  view(from: number, count: number): readonly (readonly [string, HostTensor])[] {
    return this.tensors.map((tensor, i) => {
      const data = this.#part(i, from, count);
      return [stateName(tensor), { shape: [count, ...tensor.shape], data }] as const;
    });
  }

  /** Takes what a step has made of the states of some slots. */
  replace(from: number, next: readonly Float32Array[]): void {
    for (const [i, data] of next.entries()) this.#data[i]?.set(data, from * this.#size(i));
  }

  /** Keeps a snapshot of a slot, for which older ones of all slots may go. */
  keep(slot: number, length: number): void {
    if (this.tensors.length === 0) return;
    const own = this.#list(slot);
    if (own.at(-1)?.length === length) return;
    own.push({ length, data: this.tensors.map((_, i) => this.#part(i, slot, 1).slice()) });
    this.#forget();
  }

  /** Cuts a slot back from `held` tokens to a number that `kept` gave. */
  restore(slot: number, { held, length }: { readonly held: number; readonly length: number }): void {
    if (this.tensors.length === 0) return;
    const found = this.#list(slot).find((one) => one.length === length);
    this.#snapshots[slot] = this.#list(slot).filter((one) => one.length <= length);
    // what a broken adapter has made of no tokens at all is wiped, too
    if (length === held && length > 0) return;
    for (const i of this.tensors.keys()) {
      const part = this.#part(i, slot, 1);
      const data = found?.data[i];
      if (data === undefined) part.fill(0);
      else part.set(data);
    }
  }

  /** Copies the state of a slot behind its first `length` of `held` tokens into another. */
  move(from: number, to: number, tokens: { readonly held: number; readonly length: number }): void {
    if (this.tensors.length === 0) return;
    for (const i of this.tensors.keys()) this.#part(i, to, 1).set(this.#part(i, from, 1));
    this.#snapshots[to] = [...this.#list(from)];
    this.restore(to, tokens);
  }

  resize(slots: number): void {
    this.#data = this.tensors.map((_, i) => {
      const resized = new Float32Array(slots * this.#size(i));
      resized.set((this.#data[i] ?? resized).subarray(0, resized.length));
      return resized;
    });
    this.#snapshots.length = Math.min(slots, this.#snapshots.length);
  }

  /** Numbers of a tensor of one slot. */
  #size(i: number): number {
    return countElements((this.tensors[i] as StateTensor).shape);
  }

  #list(slot: number): Snapshot[] {
    this.#snapshots[slot] ??= [];
    return this.#snapshots[slot] as Snapshot[];
  }

  #part(i: number, slot: number, count: number): Float32Array {
    const size = this.#size(i);
    return (this.#data[i] as Float32Array).subarray(slot * size, (slot + count) * size);
  }

  /** Drops the shortest snapshots of the slots that have most, until the limit is kept. */
  #forget(): void {
    for (;;) {
      const lists = this.#snapshots.filter((list) => list !== undefined);
      const count = new Set(lists.flat()).size;
      if (count === 0 || count * this.bytesPerSlot <= this.#limit) return;
      lists.reduce((a, b) => (b.length > a.length ? b : a)).shift();
    }
  }
}

/** A prompt whose states are kept on the way. */
interface Progress {
  /** Tokens that the slot has computed, and those behind which it has its last snapshot. */
  readonly computed: number;
  readonly kept: number;
  readonly endTokens: readonly number[];
}

/**
 * How many of the tokens from `computed` on a step should compute at most, so that a snapshot follows: up to the end of a message,
 * or the next multiple of 512.
 */
export function tokensToSnapshot(tokens: readonly number[], { computed, kept, endTokens }: Progress): number {
  const last = (Math.floor(computed / INTERVAL) + 1) * INTERVAL;
  const first = Math.max(computed, kept + LEAST_TOKENS - 1);
  for (let i = first; i < Math.min(last, tokens.length); i++)
    if (endTokens.includes(tokens[i] as number)) return i + 1 - computed;
  return last - computed;
}

/** Tests whether a slot that has computed so many tokens, the last of them this one, is worth a snapshot. */
export const isSnapshotDue = (
  token: number | undefined,
  { length, endTokens }: { readonly length: number; readonly endTokens: readonly number[] },
): boolean => length % INTERVAL === 0 || (token !== undefined && endTokens.includes(token));

/** The most of a prompt's first `length` tokens behind which a slot keeps a snapshot while it computes them. */
export function lastSnapshotWithin(
  tokens: readonly number[],
  { length, endTokens }: { readonly length: number; readonly endTokens: readonly number[] },
): number {
  for (let kept = 0; ; ) {
    const next = kept + tokensToSnapshot(tokens, { computed: kept, kept, endTokens });
    if (next > length) return kept;
    kept = next;
  }
}
