import { type AdapterTensor, drawTensor } from "#adapters";
import type { SharedTensor } from "./layout.ts";

/** Tensors that several adapters use, each kept while anyone holds it. */
export class SharedTensors {
  /** Of all that are held. */
  bytes = 0;
  private readonly held = new Map<string, { holders: number; tensor?: AdapterTensor }>();

  /** Bytes that holding these would add. */
  missingBytes(tensors: readonly SharedTensor[]): number {
    return tensors.reduce((sum, { key, bytes }) => sum + (this.held.has(key) ? 0 : bytes), 0);
  }

  hold(tensors: readonly SharedTensor[]): void {
    this.bytes += this.missingBytes(tensors);
    for (const { key } of tensors) {
      const found = this.held.get(key);
      if (found === undefined) this.held.set(key, { holders: 1 });
      else found.holders++;
    }
  }

  release(tensors: readonly SharedTensor[]): void {
    for (const { key, bytes } of tensors) {
      const found = this.held.get(key);
      if (found === undefined || --found.holders > 0) continue;
      this.held.delete(key);
      this.bytes -= bytes;
    }
  }

  /** The content, drawn when it is first asked for. */
  get({ key, spec }: SharedTensor, seed: number): AdapterTensor {
    const found = this.held.get(key);
    const tensor = found?.tensor ?? drawTensor(spec, seed);
    if (found !== undefined) found.tensor = tensor;
    return tensor;
  }
}
