import { MosError } from "#core";
import type { AdapterLease, AdapterTiers } from "./adapters/index.ts";
import { EventStream } from "./event-stream.ts";
import type { Occupant } from "./rows.ts";
import type { Sequence } from "./sequence.ts";
import type { EngineEvent, FinishReason } from "./types.ts";

/** How far a job's adapter is. */
export type LoadState = "none" | "loading" | "ready";

export const asError = (cause: unknown): MosError =>
  cause instanceof MosError
    ? cause
    : new MosError("device", `the engine failed: ${String(cause)}`, { cause });

interface JobOptions {
  /** Called when it is cancelled. */
  readonly stir: () => void;
  readonly signal: AbortSignal | undefined;
}

/** A request between its submission and its end, with what it holds. */
export class Job implements Occupant {
  readonly sequence: Sequence;
  lease: AdapterLease | undefined;
  load: LoadState;
  /** Its adapter found no memory once: those behind it leave it what comes back. */
  lacksMemory = false;
  /** Jobs that got their first row earlier have a lower one. */
  order = 0;
  isCancelled = false;
  readonly #stream = new EventStream<EngineEvent>();
  readonly #stir: () => void;
  readonly #signal: AbortSignal | undefined;

  constructor(sequence: Sequence, { stir, signal }: JobOptions) {
    this.sequence = sequence;
    this.load = sequence.request.adapter === null ? "ready" : "none";
    this.#stir = stir;
    this.#signal = signal;
    this.isCancelled = signal?.aborted === true;
    signal?.addEventListener("abort", this.#cancel, { once: true });
  }

  get tenant(): string {
    return this.sequence.request.tenant;
  }

  /** The job's events; leaving them cancels it. */
  async *events(): AsyncGenerator<EngineEvent, void> {
    try {
      yield* this.#stream.read();
    } finally {
      this.#cancel();
    }
  }

  tell(events: readonly EngineEvent[]): void {
    this.#stream.push(...events);
  }

  /** Begins to load the adapter; `then` is called with the failure, if there is one. */
  startLoading(tiers: AdapterTiers, then: (failure?: unknown) => void): void {
    const { adapter } = this.sequence.request;
    if (adapter === null) return;
    this.load = "loading";
    // without a signal: a load goes on to its end anyway, and what it takes is known until then
    tiers.acquire(adapter).then((lease) => {
      if (this.sequence.ended) lease[Symbol.dispose]();
      else this.lease = lease;
      this.load = "ready";
      then();
    }, then);
  }

  /** Ends the job early, whatever it is doing. */
  finish(reason: FinishReason): void {
    if (!this.sequence.ended) this.tell([this.sequence.finish(reason)]);
    this.close();
  }

  fail(cause: unknown): void {
    this.sequence.ended = true;
    this.close(asError(cause));
  }

  /** Gives back what the job holds. */
  close(failure?: MosError): void {
    this.#signal?.removeEventListener("abort", this.#cancel);
    this.lease?.[Symbol.dispose]();
    this.lease = undefined;
    this.#stream.close(failure);
  }

  readonly #cancel = (): void => {
    if (this.sequence.ended) return;
    this.isCancelled = true;
    this.#stir();
  };
}
