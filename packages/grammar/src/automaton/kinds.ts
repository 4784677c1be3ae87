/** The largest number of repeats or bytes: it stands for all that are not smaller. */
export const INFINITY = 0x7fffffff;

/** What a node is, and what its fields `a`, `b` and `c` are. */
export const Kind = {
  /** One byte of set `a`; the empty language is that of the empty set. */
  Set: 0,
  /** The stored bytes from `a` to `b`. */
  Literal: 1,
  /** One of the stored words from `a` to `b`, without their first `c` bytes, and then its tail. */
  Trie: 2,
  /** Node `a`, then node `b`. */
  Concat: 3,
  /** One of `b` nodes, which begin at `a` in the list of children. */
  Or: 4,
  /** All of `b` nodes, which begin at `a` in the list of children. */
  And: 5,
  /** The complement of `a`. */
  Not: 6,
  /** `a`, from `b` to `c` times. The empty text is a repeat of nothing. */
  Repeat: 7,
} as const;
export type Kind = (typeof Kind)[keyof typeof Kind];

/** Nodes that exist in every store. */
export const NOTHING = 0;
export const EMPTY = 1;
export const ANY_BYTE = 2;
/** All byte strings. */
export const ALL = 3;

/** Whether a language is known to contain something. */
export const Content = { Unknown: 0, Some: 1, None: 2 } as const;
export type Content = (typeof Content)[keyof typeof Content];
