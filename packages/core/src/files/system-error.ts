import { type ErrorCode, errorText, MosError } from "#common";

/** The `code` of a failed system call ("ENOENT"), or undefined for any other error. */
export function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

/** The code of the system call by which an error was caused in the end. */
function causeCode(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  return (error instanceof MosError ? undefined : systemCode(error)) ?? causeCode(error.cause);
}

/** Tests whether an error was caused by a full disk or an exhausted disk quota. */
export function isDiskFull(error: unknown): boolean {
  const code = causeCode(error);
  return code === "ENOSPC" || code === "EDQUOT";
}

const UNAVAILABLE: ReadonlySet<string | undefined> = new Set([
  "EROFS",
  "EACCES",
  "EPERM",
  "ENOENT",
  "ENOTDIR",
]);

/**
 * Tests whether a "storage" error was caused by a folder or a file system that is missing or cannot be written. An error
 * from another process has lost its cause, and counts.
 */
export function isUnavailable(error: unknown): boolean {
  const code = causeCode(error);
  return code === undefined || UNAVAILABLE.has(code);
}

const PROBLEMS: Readonly<Record<string, string>> = {
  ENOSPC: "the server's disk is full",
  EDQUOT: "the server's disk quota is used up",
  EROFS: "the server's storage is read-only",
  EACCES: "the server is not allowed to use its storage",
  EPERM: "the server is not allowed to use its storage",
  ENOENT: "the server's storage is missing",
  ENOTDIR: "the server's storage is missing",
};

/** Problem of a disk, for readers who may not see its path. */
export const storageProblem = (error: unknown): string =>
  PROBLEMS[causeCode(error) ?? ""] ?? "the server's storage cannot be used now";

const EXPLANATIONS: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  ENOENT: ["not_found", "no such file or folder; check the path"],
  ENOTDIR: ["not_found", "a part of this path is a file, not a folder; check the path"],
  EEXIST: ["storage", "a file is in the way, by this name or on the path to it; choose another location"],
  EISDIR: ["storage", "expected a file, found a folder"],
  ENOTSUP: ["unsupported", "this cannot be done where this program runs"],
  ENOSPC: ["storage", "the disk is full; free some space or choose another folder"],
  EDQUOT: ["storage", "the disk quota is used up; free some space or choose another folder"],
  EROFS: ["storage", "the file system is read-only; choose a folder that can be written"],
  EACCES: ["storage", "permission denied; change the permissions or choose another folder"],
  EPERM: ["storage", "the operation is not permitted; change the permissions or choose another folder"],
  EFBIG: ["storage", "the file is too large for this file system; choose another folder"],
  EMFILE: ["storage", "too many files are open; raise the limit (ulimit -n)"],
  ENAMETOOLONG: ["storage", "the name is too long; choose a shorter one"],
};

/**
 * A failed system call as a `MosError`: "not_found" for a path that does not exist, "storage" for everything that a
 * disk can refuse. A `MosError` passes through unchanged.
 */
export function storageError(error: unknown, path: string): MosError {
  if (error instanceof MosError) return error;
  const known = EXPLANATIONS[systemCode(error) ?? ""];
  if (known) return new MosError(known[0], `${path}: ${known[1]}`, { cause: error });
  const reason = errorText(error);
  return new MosError("storage", `${path}: could not be read or written (${reason})`, { cause: error });
}

/** Handles a rejected system call on a path: throws its `storageError`. */
export const storageFailure =
  (path: string) =>
  (error: unknown): never => {
    throw storageError(error, path);
  };
