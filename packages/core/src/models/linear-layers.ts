import { add, linear, type Value } from "mixture-of-shards-graph";

/** The linear layers that decoder layers can have, in the order of reports, with their paths in a layer of this package. */
const LINEAR_PATHS = {
  q_proj: "self_attn.q_proj",
  k_proj: "self_attn.k_proj",
  v_proj: "self_attn.v_proj",
  o_proj: "self_attn.o_proj",
  gate_proj: "mlp.gate_proj",
  up_proj: "mlp.up_proj",
  down_proj: "mlp.down_proj",
  g_proj: "self_attn.g_proj",
  conv_in_proj: "conv.in_proj",
  conv_out_proj: "conv.out_proj",
  per_layer_input_gate: "per_layer_input_gate",
  per_layer_projection: "per_layer_projection",
  in_proj_qkv: "linear_attn.in_proj_qkv",
  in_proj_z: "linear_attn.in_proj_z",
  in_proj_b: "linear_attn.in_proj_b",
  in_proj_a: "linear_attn.in_proj_a",
  out_proj: "linear_attn.out_proj",
} as const;
/** One of them: "q_proj". */
export type LinearName = keyof typeof LINEAR_PATHS;

/** Their names. */
export const LINEAR_NAMES = Object.keys(LINEAR_PATHS) as readonly LinearName[];

/** Those of a Llama, which most models have in every layer. */
export const COMMON_LINEARS = [
  "q_proj",
  "k_proj",
  "v_proj",
  "o_proj",
  "gate_proj",
  "up_proj",
  "down_proj",
] as const satisfies readonly LinearName[];

/** Linear layers with few inputs or outputs, which adapters leave alone unless they are told otherwise. */
export const SMALL_LINEARS: readonly LinearName[] = [
  "g_proj",
  "in_proj_b",
  "in_proj_a",
  "per_layer_input_gate",
  "per_layer_projection",
];

/** One linear layer of one decoder layer: the place where an adapter enters. */
export interface TargetModule {
  readonly layer: number;
  readonly linear: LinearName;
}

/** A target module as a key: `${layer}.${linear}`. */
export const moduleKey = ({ layer, linear }: TargetModule): string => `${layer}.${linear}`;

/** Path of a target module, as in a Hugging Face Llama: `model.layers.0.self_attn.q_proj`. */
export const modulePath = ({ layer, linear }: TargetModule): string =>
  `model.layers.${layer}.${LINEAR_PATHS[linear]}`;

const BY_PATH: ReadonlyMap<string, LinearName> = new Map(
  LINEAR_NAMES.map((linear) => [LINEAR_PATHS[linear], linear]),
);

/** The linear layer whose matrix a weight of this name is; undefined for every other weight. */
export function findLinear(name: string): TargetModule | undefined {
  const [, layer, path = ""] = /^model\.layers\.(\d+)\.(.+)\.weight$/.exec(name) ?? [];
  const found = BY_PATH.get(path);
  return found === undefined ? undefined : { layer: Number(layer), linear: found };
}

/** Linear layers that read the same input, so that one product can serve all of a group. A layer may lack some of them. */
export const GROUPS = {
  qkv: ["q_proj", "k_proj", "v_proj", "g_proj"],
  o: ["o_proj"],
  convIn: ["conv_in_proj"],
  convOut: ["conv_out_proj"],
  linearIn: ["in_proj_qkv", "in_proj_z", "in_proj_b", "in_proj_a"],
  linearOut: ["out_proj"],
  gateUp: ["gate_proj", "up_proj"],
  down: ["down_proj"],
  layerInput: ["per_layer_input_gate"],
  layerOutput: ["per_layer_projection"],
} as const satisfies Readonly<Record<string, readonly LinearName[]>>;
export type GroupName = keyof typeof GROUPS;
export const GROUP_NAMES = Object.keys(GROUPS) as readonly GroupName[];

/** One group of one decoder layer. */
export interface LayerGroup {
  readonly layer: number;
  readonly group: GroupName;
  /** Those of the group that the layer has. */
  readonly linears: readonly LinearName[];
  /** d_in of all of them, and d_out of each. */
  readonly in: number;
  readonly outs: readonly number[];
}

/** A group as a key: `${layer}.${group}`. */
export const groupKey = ({ layer, group }: Pick<LayerGroup, "layer" | "group">): string =>
  `${layer}.${group}`;

/** Computes one linear layer on x [N, in]. A model calls it for every linear layer; adapters replace it. */
export type LinearHook = (
  x: Value,
  target: TargetModule,
  weights: { readonly weight: Value; readonly bias: Value | undefined },
) => Value;

/** The linear layer as the checkpoint has it: x Wᵀ + b. */
export const plainLinear: LinearHook = (x, _site, { weight, bias }) => withBias(linear(x, weight), bias);

export const withBias = (y: Value, bias: Value | undefined): Value => (bias === undefined ? y : add(y, bias));
