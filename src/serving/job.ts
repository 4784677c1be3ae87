import type { MosError } from "#core";
import type { AdapterLease, AdapterTiers } from "./adapters/index.ts";
import { EventStream } from "./event-stream.ts";
import type { Occupant } from "./rows.ts";
import type { Sequence } from "./sequence.ts";
import type { EngineEvent, EngineFinish } from "./types.ts";

/** How far a job's adapter is. */
export type LoadState = "none" | "loading" | "ready";

/** A request between its submission and its end, with what it holds. */
export class Job implements Occupant {
  readonly sequence: Sequence;
  readonly stream = new EventStream<EngineEvent>();
  lease: AdapterLease | undefined;
  load: LoadState;
  /** Jobs that got their first row earlier have a lower one. */
  order = 0;
  isCancelled = false;
  readonly #loading = new AbortController();

  constructor(sequence: Sequence) {
    this.sequence = sequence;
    this.load = sequence.request.adapter === null ? "ready" : "none";
  }

  get tenant(): string {
    return this.sequence.request.tenant;
  }

  /** Begins to load the adapter; `then` is called with the failure, if there is one. */
  startLoading(tiers: AdapterTiers, then: (failure?: unknown) => void): void {
    const { adapter } = this.sequence.request;
    if (adapter === null) return;
    this.load = "loading";
    tiers.acquire(adapter, { signal: this.#loading.signal }).then((lease) => {
      if (this.sequence.ended) lease[Symbol.dispose]();
      else this.lease = lease;
      this.load = "ready";
      then();
    }, then);
  }

  /** Ends the job early, whatever it is doing. */
  finish(reason: EngineFinish): void {
    if (!this.sequence.ended) this.stream.push(this.sequence.finish(reason));
    this.close();
  }

  fail(error: MosError): void {
    this.sequence.ended = true;
    this.close(error);
  }

  /** Gives back what the job holds. */
  close(failure?: MosError): void {
    this.#loading.abort();
    this.lease?.[Symbol.dispose]();
    this.lease = undefined;
    this.stream.close(failure);
  }
}
