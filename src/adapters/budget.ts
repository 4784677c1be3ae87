import { countElements } from "#core";
import type { LayerShapes, TensorSpec } from "./method.ts";
import { targetWidths } from "./method-parts.ts";
import { type AdapterConfig, bindMethod } from "./methods.ts";

/** Cost of an adapter, before it exists. @inline */
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
  specs.filter((spec) => spec.role === role).reduce((sum, { shape }) => sum + countElements(shape), 0);

const bytesByDtype = (trainable: number, frozen: number) => ({
  float32: 4 * (trainable + frozen),
  bfloat16: 2 * trainable + 4 * frozen,
  int8: trainable + 4 * frozen,
});

/** Counted from the tensors that training would create, so that it cannot disagree with them. Throws `bad_config`. */
export function budget(config: AdapterConfig, shapes: LayerShapes): Budget {
  const method = bindMethod(config);
  method.check(shapes);
  const specs = method.tensors(shapes);
  const trainable = count(specs, "trainable");
  const [frozen, seeded] = [count(specs, "frozen"), count(specs, "seeded")];
  const widths = config.targets.map((name) => targetWidths(shapes, name));
  const perRank = shapes.layers * widths.reduce((sum, { in: width, out }) => sum + width + out, 0);
  const loraTrainable = config.rank * perRank;
  return {
    trainable,
    frozen,
    seeded,
    bytes: bytesByDtype(trainable, frozen),
    lora: { trainable: loraTrainable, bytes: bytesByDtype(loraTrainable, 0) },
    ratio: trainable / loraTrainable,
    equivalentRank: trainable / perRank,
  };
}
