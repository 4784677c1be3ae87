// Activations by their names in config.json.
import type { GateActivation } from "mixture-of-shards-graph";

/** Activations of transformers that can be run, some under several names. */
export const ACTIVATIONS: ReadonlyMap<string, GateActivation> = new Map([
  ["silu", "silu"],
  ["swish", "silu"],
  ["relu", "relu"],
  ["gelu", "gelu"],
  ["gelu_python", "gelu"],
  ["gelu_pytorch_tanh", "gelu_tanh"],
  ["gelu_python_tanh", "gelu_tanh"],
  ["gelu_new", "gelu_tanh"],
  ["gelu_fast", "gelu_tanh"],
  ["gelu_accurate", "gelu_tanh"],
]);

/** Name of an activation in transformers. */
export const activationName = (activation: GateActivation = "silu"): string =>
  activation === "gelu_tanh" ? "gelu_pytorch_tanh" : activation;
