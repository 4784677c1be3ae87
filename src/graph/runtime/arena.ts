// Memory touched by the allocator of the runtime's CPU provider: an arena which takes memory in growing
// regions, gives the smallest free piece that is large enough, and keeps everything until its program is closed.

/** A piece of memory: where it lies, and how much of it there is. */
export interface Piece {
  readonly region: number;
  readonly begin: number;
  readonly size: number;
}

const UNIT = 256;
const FIRST_REGION = 2 ** 20;
const MAX_EXTENSION = 2 ** 30;
/** A larger rest is split off, whatever was asked for. */
const MAX_WASTE = 2 ** 27;
/** Memory counts from its first use on, by pieces of this size. */
const PAGE = 2 ** 16;

/** Allocations and frees in the order in which a program makes them, and what they take of the machine. */
export class Arena {
  /** Free pieces in the order of their sizes. */
  readonly #free: Piece[] = [];
  /** The same by the addresses at which they begin and end. */
  readonly #begins = new Map<number, Piece>();
  readonly #ends = new Map<number, Piece>();
  /** The pages of each region that were in use. */
  readonly #used: Uint8Array[] = [];
  #step = FIRST_REGION;
  #touched = 0;

  /** Bytes that were in use at some time; they are never given back. */
  get touched(): number {
    return this.#touched * PAGE;
  }

  allocate(bytes: number): Piece {
    const size = Math.max(UNIT, Math.ceil(bytes / UNIT) * UNIT);
    const fitting = this.#free[this.#insertionIndex({ region: Number.POSITIVE_INFINITY, begin: 0, size })];
    if (fitting !== undefined) this.#take(fitting);
    const found = fitting ?? this.#extend(size);
    this.#touch(found, bytes);
    const rest = found.size - size;
    if (rest < size && rest < MAX_WASTE) return found;
    this.#insert({ ...found, begin: found.begin + size, size: rest });
    return { ...found, size };
  }

  free(piece: Piece): void {
    const before = this.#ends.get(pieceKey(piece.region, piece.begin));
    const next = this.#begins.get(pieceKey(piece.region, piece.begin + piece.size));
    if (before !== undefined) this.#take(before);
    if (next !== undefined) this.#take(next);
    const begin = before?.begin ?? piece.begin;
    this.#insert({ region: piece.region, begin, size: piece.begin + piece.size + (next?.size ?? 0) - begin });
  }

  #extend(size: number): Piece {
    const isLarge = size > this.#step;
    while (size > this.#step) this.#step *= 2;
    const region = { region: this.#used.length, begin: 0, size: this.#step };
    this.#used.push(new Uint8Array(Math.ceil(this.#step / PAGE)));
    if (!isLarge) this.#step = Math.min(MAX_EXTENSION, 2 * this.#step);
    return region;
  }

  #touch({ region, begin }: Piece, bytes: number): void {
    const used = this.#used[region] as Uint8Array;
    for (let page = Math.floor(begin / PAGE); page * PAGE < begin + bytes; page++) {
      if (used[page] === 1) continue;
      used[page] = 1;
      this.#touched++;
    }
  }

  /** The first place in the order of free pieces that is not before this one. */
  #insertionIndex(piece: Piece): number {
    let [low, high] = [0, this.#free.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (isBefore(this.#free[middle] as Piece, piece)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #take(piece: Piece): void {
    this.#free.splice(this.#insertionIndex(piece), 1);
    this.#begins.delete(pieceKey(piece.region, piece.begin));
    this.#ends.delete(pieceKey(piece.region, piece.begin + piece.size));
  }

  #insert(piece: Piece): void {
    this.#free.splice(this.#insertionIndex(piece), 0, piece);
    this.#begins.set(pieceKey(piece.region, piece.begin), piece);
    this.#ends.set(pieceKey(piece.region, piece.begin + piece.size), piece);
  }
}

/** Both are below 2²⁰ and 2³³. */
const pieceKey = (region: number, address: number): number => region * 2 ** 33 + address;

/** Smaller pieces first; of one size that with the lowest address: systems place later regions below earlier ones. */
const isBefore = (a: Piece, b: Piece): boolean =>
  a.size !== b.size ? a.size < b.size : a.region !== b.region ? a.region > b.region : a.begin < b.begin;
