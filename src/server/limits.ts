/** What one request, client or connection may take. Sizes in bytes, times in seconds. */
export interface ServerLimits {
  /** Of a request's body. */
  readonly bodyBytes: number;
  /** Of an uploaded adapter's request. */
  readonly uploadBytes: number;
  /** Answers of one request: prompts times n. */
  readonly choices: number;
  /** Answers of one request that the engine has at a time. */
  readonly choicesAtOnce: number;
  /** Of all headers together. */
  readonly headerBytes: number;
  readonly headerCount: number;
  readonly connections: number;
  readonly requestsPerConnection: number;
  /** Until the headers, and until the whole request, must have come. */
  readonly headerSeconds: number;
  readonly requestSeconds: number;
  /** Until a connection without a request is closed. */
  readonly idleSeconds: number;
  /** Until a client that does not read its answer is dropped. */
  readonly stalledSeconds: number;
}

export const defaultLimits: ServerLimits = {
  bodyBytes: 4_000_000,
  uploadBytes: 512_000_000,
  choices: 128,
  choicesAtOnce: 16,
  headerBytes: 16_384,
  headerCount: 100,
  connections: 1024,
  requestsPerConnection: 10_000,
  headerSeconds: 10,
  requestSeconds: 120,
  idleSeconds: 15,
  stalledSeconds: 30,
};
