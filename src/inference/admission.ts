// Who gets a row next. Adapters are loaded for those whose turn is near; who waits for one holds nobody up.
import { MosError } from "#core";
import type { AdapterTiers } from "./adapters/index.ts";
import { FairQueue } from "./fair-queue.ts";
import { asError, type Job } from "./job.ts";
import type { Rows } from "./rows.ts";

export interface AdmissionOptions {
  readonly rows: Rows<Job>;
  readonly tiers: AdapterTiers;
  readonly maxRows: number;
  /** Called when an adapter was loaded, or was not. */
  readonly stir: () => void;
}

/** Waiting requests that are looked at in a turn. */
const LOOK_AT = 1000;

/** The requests without a row. */
export class Admission {
  readonly #options: AdmissionOptions;
  readonly #queue = new FairQueue<Job>();
  #nextOrder = 1;
  /** Adapters that are being loaded. */
  #loads = 0;
  /** Adapters found no memory; nothing was given back since. */
  #isMemoryTaken = false;

  constructor(options: AdmissionOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#queue.size;
  }

  /** How many jobs of a tenant wait. */
  sizeOf(tenant: string): number {
    return this.#queue.sizeOf(tenant);
  }

  [Symbol.iterator](): Generator<Job> {
    return this.#queue[Symbol.iterator]();
  }

  add(job: Job): void {
    this.#queue.push(job.tenant, job);
  }

  /** Lets a job that lost its row wait again, before all others of its tenant. */
  putBack(job: Job): void {
    this.#queue.pushFirst(job.tenant, job);
  }

  /** Counts tokens that a job was served. */
  charge({ tenant }: Job, tokens: number): void {
    this.#queue.charge(tenant, tokens);
  }

  /** A job ended, and gave back what it held. */
  noteEnd(): void {
    this.#isMemoryTaken = false;
  }

  /** Forgets tenants that are gone. */
  prune(): void {
    this.#queue.prune();
  }

  dropCancelled(): void {
    for (const job of [...this.#queue].filter(({ isCancelled }) => isCancelled)) {
      this.#queue.remove(job.tenant, job);
      job.finish("cancelled");
      this.noteEnd();
    }
  }

  /** Gives rows to those that wait, in turn; who waits for a row's memory holds up those behind. */
  admit(): void {
    const { rows, maxRows } = this.#options;
    let mayLoad = !this.#isMemoryTaken;
    for (const [place, job] of this.#queue.first(LOOK_AT).entries()) {
      const isNear = place < maxRows;
      if (rows.count === maxRows && !isNear) break;
      if (isNear && mayLoad && job.load === "none") this.#load(job);
      if (job.lacksMemory && job.load !== "ready") mayLoad = false;
      if (job.load === "ready" && !this.#enter(job)) break;
    }
    rows.compact();
  }

  /** Gives a job a row, or refuses it for good. False where it has to wait for one. */
  #enter(job: Job): boolean {
    const { rows } = this.#options;
    if (!rows.fits(job)) {
      if (rows.fitsAlone(job)) return false;
      this.#reject(job, tooLarge(job));
      return true;
    }
    this.#queue.remove(job.tenant, job);
    try {
      rows.place(job);
    } catch (cause) {
      job.fail(cause);
      this.noteEnd();
      rows.refill();
      return true;
    }
    if (job.order === 0) {
      job.order = this.#nextOrder++;
      this.charge(job, job.sequence.tokens.length);
    }
    job.tell(job.sequence.admit(job.lease?.digest ?? null));
    return true;
  }

  #load(job: Job): void {
    this.#loads++;
    job.startLoading(this.#options.tiers, (failure) => {
      this.#loads--;
      // a job that ended meanwhile has given its adapter back
      if (job.sequence.ended) this.noteEnd();
      else if (failure !== undefined) this.#refused(job, asError(failure));
      this.#options.stir();
    });
  }

  /** Memory comes back when others end; without others it will not. */
  #refused(job: Job, error: MosError): void {
    const holds =
      this.#loads > 0 ||
      this.#options.rows.count > 0 ||
      [...this.#queue].some(({ lease }) => lease !== undefined);
    if (error.code === "busy" && holds) {
      job.load = "none";
      job.lacksMemory = true;
      this.#isMemoryTaken = true;
    } else this.#reject(job, error);
  }

  #reject(job: Job, error: MosError): void {
    this.#queue.remove(job.tenant, job);
    job.fail(error);
    this.noteEnd();
  }
}

/** Its keys and values fit, or it had been refused when it came; what is left is the slot. */
const tooLarge = ({ lease }: Job): MosError =>
  new MosError(
    "bad_option",
    `a slot for an adapter of rank ${Math.max(1, lease?.rank ?? 0)} does not fit into the engine's memory for slots; raise it with --slot-memory of mos serve`,
  );
