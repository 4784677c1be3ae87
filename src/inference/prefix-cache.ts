// Automatic prefix sharing: keys and values of a prefix that several prompts share are computed once, also where they
// run at the same time. planPrefixes decides which slot computes, copies or waits; the scheduler follows it.

/** Content of a slot, now or soon. */
export interface SlotContent {
  readonly slot: number;
  /** Slots of the same adapter's content and the same tenant share; others never do. */
  readonly owner: string;
  /** All tokens of the sequence that has the slot, or of the one that had it. */
  readonly tokens: readonly number[];
  /** Number of tokens with keys and values in the cache. */
  readonly computed: number;
  /** For a slot that a sequence has. */
  readonly reader?: {
    /** Sequences were first scheduled in this order. */
    readonly order: number;
    /** The first position whose logits are needed: earlier keys and values may come from another slot. */
    readonly firstLogits: number;
  };
}

/** The first tokens of one slot, copied into another. */
export interface PrefixCopy {
  readonly from: number;
  readonly to: number;
  readonly length: number;
}

export interface PrefixPlan {
  /** In this order. */
  readonly copies: readonly PrefixCopy[];
  /** Slots that compute nothing in this step: an earlier one is computing what they need. */
  readonly waiting: ReadonlySet<number>;
}

/** Shared tokens from which on copying, or waiting for them, pays. */
const MIN_SHARED_TOKENS = 32;

const NO_COPIES: PrefixPlan = { copies: [], waiting: new Set() };

/** The length of the longest common prefix. */
export function sharedLength(a: readonly number[], b: readonly number[]): number {
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

/** Plans the copies of prefixes between slots, and the slots that wait for one. The earliest reader never waits. */
export function planPrefixes(slots: readonly SlotContent[]): PrefixPlan {
  const readers = slots.filter(isReader).sort((a, b) => a.reader.order - b.reader.order);
  if (readers.length === 0) return NO_COPIES;
  const computed = new Map(slots.map(({ slot, computed: count }) => [slot, count]));
  const copies: PrefixCopy[] = [];
  const waiting = new Set<number>();
  for (const [i, reader] of readers.entries()) {
    const offers = slots.map((other) => ({
      from: other.slot,
      to: reader.slot,
      length: Math.min(sharedWith(other, reader), computed.get(other.slot) ?? 0),
    }));
    const best = offers.reduce((a, b) => (b.length > a.length ? b : a));
    const coming = Math.max(0, ...readers.slice(0, i).map((other) => sharedWith(other, reader)));
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
