// Requests that wait for a slot. Tenants alternate by the tokens they were served (the virtual token counter of Sheng et
// al., "Fairness in Serving Large Language Models", 2024): a tenant with many requests delays its own, not those of others.

interface Line<T> {
  readonly items: T[];
  /** Tokens served, raised when the tenant returns: idle time earns no credit. */
  served: number;
}

/** Waiting items by tenant. */
export class WaitingQueue<T> {
  readonly #lines = new Map<string, Line<T>>();
  /** Tokens served to the tenant whose queue emptied last: a tenant that finds all queues empty starts there. */
  #lastServed = 0;

  get size(): number {
    let size = 0;
    for (const { items } of this.#lines.values()) size += items.length;
    return size;
  }

  push(tenant: string, item: T): void {
    this.#waiting(tenant).push(item);
  }

  /** Puts an item before all others of its tenant: it was preempted. */
  pushFirst(tenant: string, item: T): void {
    this.#waiting(tenant).unshift(item);
  }

  remove(tenant: string, item: T): void {
    const line = this.#lines.get(tenant);
    const index = line?.items.indexOf(item) ?? -1;
    if (line === undefined || index < 0) return;
    line.items.splice(index, 1);
    if (line.items.length === 0) this.#lastServed = line.served;
  }

  /** Counts tokens that a tenant was served. */
  charge(tenant: string, tokens: number): void {
    const line = this.#lines.get(tenant);
    if (line !== undefined) line.served += tokens;
  }

  /** The first `count` items in the order in which they should get slots. */
  first(count: number): readonly T[] {
    const lines = [...this.#lines.values()]
      .filter(({ items }) => items.length > 0)
      .sort((a, b) => a.served - b.served);
    const chosen: T[] = [];
    for (let round = 0; chosen.length < count; round++) {
      const items = lines.flatMap((line) => line.items.slice(round, round + 1));
      if (items.length === 0) break;
      chosen.push(...items);
    }
    return chosen.slice(0, count);
  }

  *[Symbol.iterator](): Generator<T> {
    for (const { items } of this.#lines.values()) yield* items;
  }

  /** Forgets tenants without waiting items once there are very many. */
  prune(limit = 10_000): void {
    if (this.#lines.size <= limit) return;
    for (const [tenant, { items }] of this.#lines) if (items.length === 0) this.#lines.delete(tenant);
  }

  #waiting(tenant: string): T[] {
    const found = this.#lines.get(tenant);
    const line = found ?? { items: [], served: 0 };
    if (line.items.length === 0) line.served = Math.max(line.served, this.#least());
    if (found === undefined) this.#lines.set(tenant, line);
    return line.items;
  }

  /** The fewest tokens that any waiting tenant was served, where a new tenant starts. */
  #least(): number {
    let least = Number.POSITIVE_INFINITY;
    for (const { items, served } of this.#lines.values())
      if (items.length > 0) least = Math.min(least, served);
    return Number.isFinite(least) ? least : this.#lastServed;
  }
}
