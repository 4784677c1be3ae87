import { Automaton } from "#automaton";
import type { Regex } from "#grammar";

const decoder = new TextDecoder();

/** Texts of a regular expression along random ways through its automaton. */
export class Sampler {
  readonly #automaton = new Automaton({ nodes: 2_000_000 });
  readonly #random: () => number;

  /** @param random numbers from 0 to below 1 */
  constructor(random: () => number) {
    this.#random = random;
  }

  /** A text; undefined where the way is longer than the limit. */
  sample(regex: Regex, maxBytes = 400): string | undefined {
    let node = this.#automaton.intern(regex);
    const bytes: number[] = [];
    while (bytes.length < maxBytes) {
      if (this.#automaton.accepts(node) && (this.#random() < 0.3 || this.#isEnd(node)))
        return decoder.decode(Uint8Array.from(bytes));
      const next = this.#step(node);
      if (next === undefined) return undefined;
      bytes.push(next.byte);
      node = next.node;
    }
    return undefined;
  }

  #isEnd(node: number): boolean {
    return this.#step(node) === undefined;
  }

  #step(node: number): { byte: number; node: number } | undefined {
    const start = Math.floor(this.#random() * 256);
    for (let offset = 0; offset < 256; offset++) {
      const byte = (start + offset * 61) % 256;
      const next = this.#automaton.derive(node, byte);
      if (next !== 0 && !this.#automaton.isNothing(next)) return { byte, node: next };
    }
    return undefined;
  }
}
