/** Every way in which this package fails on purpose. A server maps codes to status, the CLI to an exit code. */
export type ErrorCode =
  | "bad_option" // a command-line or library option that cannot be used
  | "bad_config" // settings that contradict each other or the model
  | "bad_data" // a data set that cannot be read or holds nothing usable
  | "bad_model" // a model file or folder that is broken or lies about itself
  | "bad_adapter" // an adapter that is broken or belongs to another base
  | "unsupported" // well formed, but not something this version can run
  | "not_found" // a file, folder, repository or name that does not exist
  | "device" // an execution provider or its memory is not available
  | "storage" // the disk is full, read-only, or refuses
  | "network" // the hub cannot be reached or refuses
  | "busy" // too much is waiting, or memory is taken: the same request can succeed later
  | "diverged" // the loss is not a finite number
  | "cancelled"; // stopped by the caller's signal

export interface MosErrorOptions {
  readonly cause?: unknown;
}

/**
 * The one error class. The message says what was found, where, and what would do.
 *
 * @example
 * throw new MosError("bad_config", "q_proj: width 576 does not split into 5 shards; use a divisor of 576");
 */
export class MosError extends Error {
  override readonly name = "MosError";
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options: MosErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
  }
}
