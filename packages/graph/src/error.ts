/** Every kind of failure of this package. The server maps codes to status codes, the CLI to exit codes. */
export type ErrorCode =
  | "bad_option" // an invalid option or argument
  | "bad_config" // settings that conflict with each other or with the model
  | "bad_data" // a data set that cannot be read or has no usable examples
  | "bad_model" // a corrupt or inconsistent model
  | "bad_adapter" // a corrupt adapter, or one trained on another base
  | "unsupported" // valid input that this version does not support
  | "not_found" // no such file, folder, repository or name
  | "device" // an execution provider or its memory is unavailable, or the engine process failed
  | "storage" // the disk is full, read-only or failing
  | "network" // the Hub is unreachable or denies access
  | "busy" // a queue or memory is full; retry later
  | "diverged" // a loss or model output is NaN or infinite
  | "no_signal" // all sampled answers earn the same, so that nothing can be learnt from them
  | "cancelled" // aborted by the caller's signal
  | "memory"; // not enough memory

/** Cause and remedy of an error. */
interface MosErrorOptions {
  readonly cause?: unknown;
  /** Lines of our own after the message. */
  readonly hint?: string | undefined;
  /** Seconds after which the same may succeed, where the code is `busy`. */
  readonly retryAfter?: number | undefined;
}

/** The most characters of a file or a request that a message repeats, in quotation marks or not, and the most of a message. */
const MAX_QUOTE_LENGTH = 150;
const MAX_WORD_LENGTH = 200;
const MAX_MESSAGE_LENGTH = 2000;
/** A quotation, whole: the mark that ends one must not be taken for the start of the next. */
const QUOTE = /"([^"]*)"?/g;
const LONG_WORD = new RegExp(`(\\S{${MAX_WORD_LENGTH}})\\S+`, "g");

const escaped = (character: string): string =>
  character === "\n" ? "\\n" : `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;

/** A message in one line: the contents of a file can neither forge a second message nor fill the screen. */
export function oneLine(message: string): string {
  const short = message
    .replace(QUOTE, (whole, inner: string) =>
      inner.length > MAX_QUOTE_LENGTH ? `"${inner.slice(0, MAX_QUOTE_LENGTH)}…"` : whole,
    )
    .replace(LONG_WORD, "$1…");
  const text = short.replace(/[\p{Cc}\u2028\u2029]/gu, escaped);
  return text.length > MAX_MESSAGE_LENGTH ? `${text.slice(0, MAX_MESSAGE_LENGTH)}…` : text;
}

/**
 * The error class of this package. The message says what was found, where, and what would be accepted, in one line.
 *
 * @example
 * throw new MosError("bad_config", "q_proj: width 576 does not split into 5 shards; use a divisor of 576");
 */
export class MosError extends Error {
  override readonly name = "MosError";
  readonly code: ErrorCode;
  /** Seconds after which the same may succeed, where they are known. */
  readonly retryAfter?: number | undefined;

  constructor(code: ErrorCode, message: string, { cause, hint, retryAfter }: MosErrorOptions = {}) {
    super(
      `${oneLine(message)}${hint === undefined ? "" : `\n${hint}`}`,
      cause === undefined ? undefined : { cause },
    );
    this.code = code;
    if (retryAfter !== undefined) this.retryAfter = retryAfter;
  }
}

/** The result of some work, or the MosError that it throws. */
export function attempt<T>(work: () => T): T | MosError {
  try {
    return work();
  } catch (error) {
    if (error instanceof MosError) return error;
    throw error;
  }
}

/** Message of a thrown value of any type. */
export const errorText = (error: unknown): string => (error instanceof Error ? error.message : String(error));
