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
