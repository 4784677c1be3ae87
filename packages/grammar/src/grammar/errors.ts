/**
 * Reason why a grammar is refused: it is not well formed (`bad_grammar`), uses what cannot be enforced (`unsupported`), or needs
 * more time, memory or states than its limits allow (`limit`); or a token that it does not allow was given to a matcher
 * (`bad_token`). A compiler refuses any for the moment while too many wait (`busy`).
 */
export type GrammarErrorCode = "bad_grammar" | "unsupported" | "limit" | "bad_token" | "busy";

/** Location of a problem. */
export interface GrammarErrorPlace {
  /** JSON pointer into a schema, "" for its root. */
  readonly pointer?: string | undefined;
  /** The keyword of a schema, or the construct of another syntax, that is refused. */
  readonly keyword?: string | undefined;
  readonly cause?: unknown;
}

/** The only error that this package throws on purpose. */
export class GrammarError extends Error {
  override readonly name = "GrammarError";
  readonly code: GrammarErrorCode;
  readonly pointer: string | undefined;
  readonly keyword: string | undefined;

  constructor(code: GrammarErrorCode, message: string, { pointer, keyword, cause }: GrammarErrorPlace = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.pointer = pointer;
    this.keyword = keyword;
  }
}

/** Whether an error says that something takes too much time, memory or states. */
export const isLimit = (error: unknown): boolean => error instanceof GrammarError && error.code === "limit";
