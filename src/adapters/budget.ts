import { sizeOf } from "#core";
import type { AdapterGeometry, TensorSpec } from "./method.ts";
import { widthsOf } from "./method-parts.ts";
import { type AdapterConfig, methodOf } from "./methods.ts";

/** What an adapter costs, before it exists. */
export interface Budget {
  /** Trained numbers. */
  readonly trainable: number;
  /** Frozen numbers that are saved with the adapter. */
  readonly frozen: number;
  /** Frozen numbers that the seed gives again: not saved, and kept once for all adapters of that seed. */
  readonly seeded: number;
  /** Bytes of the trained numbers in a precision, and of the frozen ones, four bytes each. */
  readonly bytes: { readonly float32: number; readonly bfloat16: number; readonly int8: number };
  /** LoRA of the same rank on the same targets. */
  readonly lora: {
    readonly trainable: number;
    readonly bytes: { readonly float32: number; readonly bfloat16: number; readonly int8: number };
  };
  /** Trained numbers as a share of that LoRA's. */
  readonly ratio: number;
  /** The rank of the LoRA that trains as many numbers; not whole for every method. */
  readonly equivalentRank: number;
}

const count = (specs: readonly TensorSpec[], role: TensorSpec["role"]): number =>
  specs.filter((spec) => spec.role === role).reduce((sum, { shape }) => sum + sizeOf(shape), 0);

const bytesOf = (trainable: number, frozen: number) => ({
  float32: 4 * (trainable + frozen),
  bfloat16: 2 * trainable + 4 * frozen,
  int8: trainable + 4 * frozen,
});

/** Counted from the tensors that training would create, so that it cannot disagree with them. Throws `bad_config`. */
export function budget(config: AdapterConfig, geometry: AdapterGeometry): Budget {
  const method = methodOf(config);
  method.check(geometry);
  const specs = method.tensors(geometry);
  const trainable = count(specs, "trainable");
  const [frozen, seeded] = [count(specs, "frozen"), count(specs, "seeded")];
  const widths = config.targets.map((name) => widthsOf(geometry, name));
  const perRank = geometry.layers * widths.reduce((sum, { in: width, out }) => sum + width + out, 0);
  const loraTrainable = config.rank * perRank;
  return {
    trainable,
    frozen,
    seeded,
    bytes: bytesOf(trainable, frozen),
    lora: { trainable: loraTrainable, bytes: bytesOf(loraTrainable, 0) },
    ratio: trainable / loraTrainable,
    equivalentRank: trainable / perRank,
  };
}
