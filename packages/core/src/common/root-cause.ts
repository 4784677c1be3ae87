import { errorText } from "mixture-of-shards-graph/common";

/** The reason behind fetch's own "fetch failed". */
export function rootCause(error: unknown): string {
  if (error instanceof Error && error.cause instanceof Error) return rootCause(error.cause);
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return errorText(error) || code;
}
