// Requests that wait for a row. Tenants take turns by the tokens they were served (the virtual token counter of Sheng et
// al., "Fairness in Serving Large Language Models", 2024): one tenant's flood waits behind itself, not before others.

interface Line<T> {
  readonly items: T[];
  /** Tokens served, lifted when the tenant comes back: idling saves up nothing. */
  served: number;
}

/** Waiting items by tenant. */
export class FairQueue<T> {
  readonly #lines = new Map<string, Line<T>>();
  /** What the tenant whose line emptied last was served: who comes when nobody waits begins there. */
  #lastServed = 0;

  get size(): number {
    let size = 0;
    for (const { items } of this.#lines.values()) size += items.length;
    return size;
  }

  /** How many items of a tenant wait. */
  sizeOf(tenant: string): number {
    return this.#lines.get(tenant)?.items.length ?? 0;
  }

  push(tenant: string, item: T): void {
    this.#waiting(tenant).push(item);
  }

  /** Puts an item before all others of its tenant: it has had a row and lost it. */
  pushFirst(tenant: string, item: T): void {
    this.#waiting(tenant).unshift(item);
  }

  remove(tenant: string, item: T): void {
    const line = this.#lines.get(tenant);
    const place = line?.items.indexOf(item) ?? -1;
    if (line === undefined || place < 0) return;
    line.items.splice(place, 1);
    if (line.items.length === 0) this.#lastServed = line.served;
  }

  /** Counts tokens that a tenant was served. */
  charge(tenant: string, tokens: number): void {
    const line = this.#lines.get(tenant);
    if (line !== undefined) line.served += tokens;
  }

  /** The first `count` items in the order in which they should get rows. */
  first(count: number): readonly T[] {
    const lines = [...this.#lines.values()]
      .filter(({ items }) => items.length > 0)
      .sort((a, b) => a.served - b.served);
    const chosen: T[] = [];
    for (let turn = 0; chosen.length < count; turn++) {
      const round = lines.flatMap(({ items }) => items.slice(turn, turn + 1));
      if (round.length === 0) break;
      chosen.push(...round);
    }
    return chosen.slice(0, count);
  }

  *[Symbol.iterator](): Generator<T> {
    for (const { items } of this.#lines.values()) yield* items;
  }

  /** Forgets tenants that wait for nothing, beyond a number that costs nothing. */
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

  /** The least that any waiting tenant was served, which is where one that comes begins. */
  #least(): number {
    let least = Number.POSITIVE_INFINITY;
    for (const { items, served } of this.#lines.values())
      if (items.length > 0) least = Math.min(least, served);
    return Number.isFinite(least) ? least : this.#lastServed;
  }
}
