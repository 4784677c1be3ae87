import { randomUUID } from "node:crypto";

/** What is known of a request, for its line in the log and for the metrics. Times in milliseconds since 1970. */
export interface RequestRecord {
  readonly id: string;
  readonly startedAt: number;
  readonly method: string;
  readonly path: string;
  /** The route that took it, so that paths of clients are no labels. */
  route: string;
  status: number;
  keyName?: string;
  /** The base's or a registered adapter's name. */
  model?: string;
  digest?: string;
  promptTokens: number;
  completionTokens: number;
  queuedSeconds?: number;
  firstTokenAt?: number;
  /** The answer goes on after its head: whoever writes it ends the record. */
  isStream: boolean;
  /** Writes the line of the log and counts the request. */
  end?: () => void;
  /** Set where the client had left. */
  isAborted: boolean;
  error?: string;
}

export const createRecord = (request: {
  readonly method: string;
  readonly path: string;
  readonly now: number;
}): RequestRecord => ({
  id: `req_${randomUUID().replaceAll("-", "")}`,
  startedAt: request.now,
  method: request.method,
  path: request.path,
  route: "none",
  status: 0,
  promptTokens: 0,
  completionTokens: 0,
  isStream: false,
  isAborted: false,
});

/** The record as a line of the log. Never the key, the prompt or the answer. */
export function logFields(record: RequestRecord, now: number): object {
  const seconds = (until: number | undefined): number | undefined =>
    until === undefined ? undefined : (until - record.startedAt) / 1000;
  return {
    request: record.id,
    key: record.keyName,
    method: record.method,
    path: record.path.slice(0, 200),
    status: record.status,
    model: record.model,
    adapterDigest: record.digest,
    promptTokens: record.promptTokens,
    completionTokens: record.completionTokens,
    queuedSeconds: record.queuedSeconds,
    firstTokenSeconds: seconds(record.firstTokenAt),
    seconds: seconds(now),
    ...(record.isAborted ? { clientLeft: true } : {}),
    ...(record.error === undefined ? {} : { error: record.error }),
  };
}
