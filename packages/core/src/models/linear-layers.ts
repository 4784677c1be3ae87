import { add, linear, type Value } from "mixture-of-shards-graph";

/** The linear layers of a decoder block, by the last part of their checkpoint names. */
export const LINEAR_NAMES = [
  "q_proj",
  "k_proj",
  "v_proj",
  "o_proj",
  "gate_proj",
  "up_proj",
  "down_proj",
] as const;
/** One of them: "q_proj". */
export type LinearName = (typeof LINEAR_NAMES)[number];

/** One linear layer of one decoder layer: the place where an adapter enters. */
export interface TargetModule {
  readonly layer: number;
  readonly linear: LinearName;
}

/** A target module as a key: `${layer}.${linear}`. */
export const moduleKey = ({ layer, linear }: TargetModule): string => `${layer}.${linear}`;

const BLOCKS: Readonly<Record<LinearName, "self_attn" | "mlp">> = {
  q_proj: "self_attn",
  k_proj: "self_attn",
  v_proj: "self_attn",
  o_proj: "self_attn",
  gate_proj: "mlp",
  up_proj: "mlp",
  down_proj: "mlp",
};

/** Path of a target module in a Hugging Face Llama: `model.layers.0.self_attn.q_proj`. */
export const modulePath = ({ layer, linear }: TargetModule): string =>
  `model.layers.${layer}.${BLOCKS[linear]}.${linear}`;

/** Linear layers that read the same input, so that one product can serve all of a group. */
export const GROUPS = {
  qkv: ["q_proj", "k_proj", "v_proj"],
  o: ["o_proj"],
  gateUp: ["gate_proj", "up_proj"],
  down: ["down_proj"],
} as const satisfies Readonly<Record<string, readonly LinearName[]>>;
export type GroupName = keyof typeof GROUPS;
export const GROUP_NAMES: readonly GroupName[] = ["qkv", "o", "gateUp", "down"];

/** One group of one decoder layer. */
export interface LayerGroup {
  readonly layer: number;
  readonly group: GroupName;
}

/** A group as a key: `${layer}.${group}`. */
export const groupKey = ({ layer, group }: LayerGroup): string => `${layer}.${group}`;

/** All groups of a model with this many layers. */
export const listLayerGroups = (layers: number): readonly LayerGroup[] =>
  Array.from({ length: layers }, (_, layer) => GROUP_NAMES.map((group) => ({ layer, group }))).flat();

/** Computes one linear layer on x [N, in]. A model calls it for every linear layer; adapters replace it. */
export type LinearHook = (
  x: Value,
  target: TargetModule,
  weights: { readonly weight: Value; readonly bias: Value | undefined },
) => Value;

/** The target modules of a model with this many layers, by linear type, then by layer. */
export const listTargets = (
  layers: number,
  linears: readonly LinearName[] = LINEAR_NAMES,
): readonly TargetModule[] =>
  linears.flatMap((linear) => Array.from({ length: layers }, (_, layer) => ({ layer, linear })));

/** The linear layer as the checkpoint has it: x Wᵀ + b. */
export const plainLinear: LinearHook = (x, _site, { weight, bias }) => withBias(linear(x, weight), bias);

export const withBias = (y: Value, bias: Value | undefined): Value => (bias === undefined ? y : add(y, bias));
