import type { TensorSpec } from "./method.ts";

type Initialize = TensorSpec["initialize"];

/** A trained tensor of float32. */
export const trainable = (name: string, shape: readonly number[], initialize: Initialize): TensorSpec => ({
  name,
  shape,
  role: "trainable",
  dtype: "float32",
  initialize,
});

/** Uniform in ±bound. */
export const uniform =
  (length: number, bound: number): Initialize =>
  (random) =>
    Float32Array.from({ length }, () => (2 * random.uniform() - 1) * bound);

/** Uniform in ±1/√fanIn: Kaiming's rule with a = √5, as torch.nn.Linear and PEFT start A. */
export const kaiming = (length: number, fanIn: number): Initialize => uniform(length, 1 / Math.sqrt(fanIn));

/** The same number everywhere. */
export const filled =
  (length: number, value: number): Initialize =>
  () =>
    new Float32Array(length).fill(value);

/** Zero everywhere, as B starts. */
export const zeros = (length: number): Initialize => filled(length, 0);

/** Where the folder of a method that PEFT does not know keeps a tensor. */
export const ownTensorName = (name: string): string => `base_model.model.${name}`;
