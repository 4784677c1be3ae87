// Hash tables of integers, which objects or strings as keys would make slow.

interface Entry<Value> {
  readonly key: Int32Array;
  readonly value: Value;
}

/** Finds one value for each sequence of integers. */
export class Interner<Value> {
  readonly #buckets = new Map<number, Entry<Value>[]>();

  /** The value of a sequence, which `create` makes from a copy of it if it is new. */
  get(sequence: readonly number[] | Int32Array, create: (key: Int32Array) => Value): Value {
    const hash = hashOf(sequence);
    let bucket = this.#buckets.get(hash);
    if (bucket) {
      for (const entry of bucket) if (isEqual(entry.key, sequence)) return entry.value;
    } else {
      bucket = [];
      this.#buckets.set(hash, bucket);
    }
    const key = Int32Array.from(sequence);
    const value = create(key);
    bucket.push({ key, value });
    return value;
  }

  *values(): Generator<Value> {
    for (const bucket of this.#buckets.values()) for (const { value } of bucket) yield value;
  }

  clear(): void {
    this.#buckets.clear();
  }
}

function hashOf(sequence: ArrayLike<number>): number {
  let hash = sequence.length;
  for (let index = 0; index < sequence.length; index++)
    hash = Math.imul(hash ^ (sequence[index] ?? 0), 0x5bd1e995) ^ (hash >>> 13);
  return hash;
}

function isEqual(one: ArrayLike<number>, other: ArrayLike<number>): boolean {
  if (one.length !== other.length) return false;
  for (let index = 0; index < one.length; index++) if (one[index] !== other[index]) return false;
  return true;
}

/** A set of pairs of integers that is cleared in constant time. */
export class PairSet {
  #mask = 63;
  #firsts = new Int32Array(64);
  #seconds = new Int32Array(64);
  /** Round in which each place was filled. */
  #rounds = new Int32Array(64);
  #round = 1;
  #size = 0;

  clear(): void {
    this.#round++;
    this.#size = 0;
  }

  /** Adds a pair, and tells whether it is new. */
  add(first: number, second: number): boolean {
    let place = this.#placeOf(first, second);
    while (this.#rounds[place] === this.#round) {
      if (this.#firsts[place] === first && this.#seconds[place] === second) return false;
      place = (place + 1) & this.#mask;
    }
    this.#firsts[place] = first;
    this.#seconds[place] = second;
    this.#rounds[place] = this.#round;
    this.#size++;
    if (2 * this.#size > this.#mask) this.#grow();
    return true;
  }

  #placeOf(first: number, second: number): number {
    const hash = Math.imul(first, 0x9e3779b1) ^ Math.imul(second, 0x85ebca6b);
    return (hash ^ (hash >>> 15)) & this.#mask;
  }

  #grow(): void {
    const [firsts, seconds, rounds, round] = [this.#firsts, this.#seconds, this.#rounds, this.#round];
    const places = 2 * rounds.length;
    this.#mask = places - 1;
    this.#firsts = new Int32Array(places);
    this.#seconds = new Int32Array(places);
    this.#rounds = new Int32Array(places);
    this.#round = 1;
    this.#size = 0;
    rounds.forEach((filled, place) => {
      if (filled === round) this.add(firsts[place] ?? 0, seconds[place] ?? 0);
    });
  }
}
