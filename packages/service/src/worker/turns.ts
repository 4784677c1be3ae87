// Turns of tenants: tasks of one hold up those of another no longer than one task takes.
import { MosError } from "mixture-of-shards";

/** Limits of tasks. */
interface TurnLimits {
  /** Running tasks. */
  readonly running: number;
  /** Running tasks of one tenant (1): with fewer than `running`, no tenant takes all places. */
  readonly runningPerTenant?: number;
  /** Running and waiting tasks of one tenant (any number). */
  readonly perTenant?: number;
  /** Waiting tasks (any number). */
  readonly waiting?: number;
  /** The tasks, for errors. */
  readonly what: string;
  /** Seconds after which a refused client may ask again. */
  readonly retryAfter?: number;
}

/** Whose task it is, and what ends its waiting. */
export interface TurnClient {
  readonly tenant: string;
  readonly signal: AbortSignal;
}

/**
 * Semaphore that is fair to tenants: of those that wait, the one whose last task began longest ago comes next. The function runs a task
 * in the turn of its tenant. It throws MosError `busy` where too many wait, `cancelled`, and what the task throws.
 */
export function createTurns({ running, what, retryAfter, ...limits }: TurnLimits) {
  const { runningPerTenant = 1, perTenant = Infinity, waiting = Infinity } = limits;
  const queue: { readonly tenant: string; readonly start: () => void }[] = [];
  const runs: string[] = [];
  /** Number of the last task of each tenant, in the order in which tasks began. */
  const lastTurn = new Map<string, number>();
  let turn = 0;
  const countWaiting = (tenant: string): number => runs.filter((name) => name === tenant).length;
  const next = (): void => {
    if (runs.length >= running) return;
    const [first] = queue
      .filter(({ tenant }) => countWaiting(tenant) < runningPerTenant)
      .sort((a, b) => (lastTurn.get(a.tenant) ?? 0) - (lastTurn.get(b.tenant) ?? 0));
    if (first === undefined) return;
    queue.splice(queue.indexOf(first), 1);
    runs.push(first.tenant);
    lastTurn.set(first.tenant, ++turn);
    first.start();
  };
  const wait = ({ tenant, signal }: TurnClient): Promise<void> =>
    new Promise((resolve, reject) => {
      const leave = (): void => {
        queue.splice(queue.indexOf(entry), 1);
        reject(new MosError("cancelled", "the client disconnected while waiting", { cause: signal.reason }));
      };
      const start = (): void => {
        signal.removeEventListener("abort", leave);
        resolve();
      };
      const entry = { tenant, start };
      queue.push(entry);
      signal.addEventListener("abort", leave, { once: true });
      if (signal.aborted) leave();
      else next();
    });
  return async <T>(task: () => Promise<T>, client: TurnClient): Promise<T> => {
    const { tenant } = client;
    const own = countWaiting(tenant) + queue.filter((one) => one.tenant === tenant).length;
    const busy = (problem: string): MosError =>
      new MosError("busy", `${problem}; retry later`, { retryAfter });
    if (own >= perTenant) throw busy(`${tenant} already has ${own} ${what} in progress`);
    if (queue.length >= waiting) throw busy(`${queue.length} ${what} are already queued`);
    await wait(client);
    try {
      return await task();
    } finally {
      runs.splice(runs.indexOf(tenant), 1);
      next();
    }
  };
}
