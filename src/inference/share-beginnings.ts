// Prompts that begin alike are read once, also by rows that run at the same time. planSharing decides; engine.ts obeys.

/** What a row holds, or is going to. */
export interface RowContent {
  readonly row: number;
  /** Rows of the same adapter's content and the same tenant share; others never do. */
  readonly owner: string;
  /** All tokens of the request that has the row, or of the one that had it. */
  readonly tokens: readonly number[];
  /** As many of them are in the cache. */
  readonly computed: number;
  /** For a request that has the row. */
  readonly reader?: {
    /** Requests got their rows in this order. */
    readonly order: number;
    /** The first place whose logits it wants: what lies before may come from another row. */
    readonly firstWanted: number;
  };
}

/** The first tokens of one row, copied into another. */
export interface SharedBeginning {
  readonly from: number;
  readonly to: number;
  readonly length: number;
}

export interface SharingPlan {
  /** In this order. */
  readonly copies: readonly SharedBeginning[];
  /** Rows that read nothing in this turn: an earlier one is reading what they need. */
  readonly waiting: ReadonlySet<number>;
}

/** Shared tokens from which on copying, or waiting for them, is worth it. */
const WORTHWHILE = 32;

const NOTHING: SharingPlan = { copies: [], waiting: new Set() };

/** How many tokens two beginnings share. */
export function sharedLength(a: readonly number[], b: readonly number[]): number {
  const most = Math.min(a.length, b.length);
  let shared = 0;
  while (shared < most && a[shared] === b[shared]) shared++;
  return shared;
}

type Reader = RowContent & { readonly reader: NonNullable<RowContent["reader"]> };

const isReader = (row: RowContent): row is Reader =>
  row.reader !== undefined && row.reader.firstWanted > row.computed;

/** Tokens that one row could have from another, were that one further. */
const alike = (other: RowContent, { row, owner, tokens, reader }: Reader): number =>
  other.row === row || other.owner !== owner
    ? 0
    : Math.min(sharedLength(other.tokens, tokens), reader.firstWanted);

/** Who copies from whom, and who waits for whom. The earliest reader waits for nobody. */
export function planSharing(rows: readonly RowContent[]): SharingPlan {
  const readers = rows.filter(isReader).sort((a, b) => a.reader.order - b.reader.order);
  if (readers.length === 0) return NOTHING;
  const computed = new Map(rows.map(({ row, computed: count }) => [row, count]));
  const copies: SharedBeginning[] = [];
  const waiting = new Set<number>();
  for (const [i, reader] of readers.entries()) {
    const offers = rows.map((other) => ({
      from: other.row,
      to: reader.row,
      length: Math.min(alike(other, reader), computed.get(other.row) ?? 0),
    }));
    const best = offers.reduce((a, b) => (b.length > a.length ? b : a));
    const coming = Math.max(0, ...readers.slice(0, i).map((other) => alike(other, reader)));
    const gain = best.length - reader.computed;
    // all that there will be is copied even where it is little
    if (gain >= WORTHWHILE || (gain > 0 && best.length >= WORTHWHILE && best.length >= coming)) {
      copies.push(best);
      computed.set(reader.row, best.length);
    }
    if (coming >= WORTHWHILE && coming > (computed.get(reader.row) ?? 0)) waiting.add(reader.row);
  }
  return { copies, waiting };
}
