// Limit of a process's connections: each takes one of the files that the system lets it open.
import { readdirSync } from "node:fs";
import type { ServerLimits } from "./limits.ts";

/** Files for adapters, logs, keys, the database and webhooks while all connections are taken. */
const RESERVE = 32;
/** Below these a server would serve nobody. */
const MIN_CONNECTIONS = 8;

/** The files of this process: those that it may have open, and those that it has. */
export interface ProcessFiles {
  readonly limit: number;
  readonly open: number;
}

/** Undefined where the system has no such limit, as on Windows. */
export function processFiles(): ProcessFiles | undefined {
  const report: unknown = process.report.getReport();
  const { userLimits } = report as { readonly userLimits?: Readonly<Record<string, { soft?: unknown }>> };
  const limit = userLimits?.["open_files"]?.soft;
  if (typeof limit !== "number") return undefined;
  try {
    return { limit, open: readdirSync("/dev/fd").length };
  } catch {
    return { limit, open: RESERVE };
  }
}

/**
 * The limits with no more connections than there can be. Of the files that are left, half are for connections: each may send a
 * file or use an adapter that is opened for it. One address may have half of all connections, as it may by default.
 */
export function withinFiles(
  limits: ServerLimits,
  files: ProcessFiles | undefined = processFiles(),
): ServerLimits {
  if (files === undefined) return limits;
  const room = Math.floor((files.limit - files.open - RESERVE) / 2);
  const connections = Math.max(MIN_CONNECTIONS, room);
  if (connections >= limits.connections) return limits;
  const connectionsPerAddress = Math.min(limits.connectionsPerAddress, Math.ceil(connections / 2));
  return { ...limits, connections, connectionsPerAddress };
}
