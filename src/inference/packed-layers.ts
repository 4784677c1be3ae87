// The linear layers of a base as they arrive, one weight after the other, and the products that they make.
import {
  add,
  GROUPS,
  type GroupName,
  groupKey,
  type LayerGroup,
  LINEAR_NAMES,
  type LinearName,
  linear,
  modulePath,
  split,
  type Value,
} from "#graph";
import type { Weight, WeightValues } from "#models";
import { canJoin } from "./pack-matrix.ts";

/** d_in of a group, d_out of each of its linear layers, and their sum. */
export interface GroupWidths {
  readonly in: number;
  readonly outs: readonly number[];
  readonly out: number;
}

/** x [..., in] times a matrix that was prepared for it. */
export type Product = (x: Value) => Value;

/** Layer and role of a weight. */
export interface LayerWeight {
  readonly layerGroup: LayerGroup;
  readonly linear: LinearName;
}

const PATTERN = new RegExp(`^model\\.layers\\.(\\d+)\\..*\\.(${LINEAR_NAMES.join("|")})\\.weight$`);

/** The linear layer that a weight of this name is; undefined for every other weight. */
export function findLayer(name: string): LayerWeight | undefined {
  const [, layer, found] = PATTERN.exec(name) ?? [];
  const linearName = LINEAR_NAMES.find((candidate) => candidate === found);
  if (layer === undefined || linearName === undefined) return undefined;
  const group = (Object.keys(GROUPS) as GroupName[]).find((key) =>
    (GROUPS[key] as readonly LinearName[]).includes(linearName),
  );
  return group === undefined
    ? undefined
    : { layerGroup: { layer: Number(layer), group }, linear: linearName };
}

/** One product for all layers of a group, or one for each. */
type GroupProducts =
  | { readonly kind: "joined"; readonly product: Product }
  | { readonly kind: "each"; readonly products: readonly Product[] };

/** How the weights of a group become products. */
export interface LayerMaker {
  /** A plain weight is a product by itself: joined it would be a copy, and no faster. */
  readonly isPlain: (weight: Weight) => boolean;
  readonly plain: (name: string, weight: Weight) => Value;
  /** Weights that can be rows of one matrix, which is named. */
  readonly packed: (name: string, weights: readonly Weight[]) => Promise<Product>;
}

/** The products of all groups. A group is made when its last weight arrives, so that few are held at a time. */
export class PackedLayers {
  readonly #maker: LayerMaker;
  readonly #waiting = new Map<string, Map<LinearName, Weight>>();
  readonly #groups = new Map<string, GroupProducts>();

  constructor(maker: LayerMaker) {
    this.#maker = maker;
  }

  async take({ layerGroup, linear: name }: LayerWeight, weight: Weight): Promise<void> {
    const key = groupKey(layerGroup);
    const waiting = this.#waiting.get(key) ?? new Map<LinearName, Weight>();
    this.#waiting.set(key, waiting.set(name, weight));
    const names: readonly LinearName[] = GROUPS[layerGroup.group];
    const weights = names.flatMap((part) => waiting.get(part) ?? []);
    if (weights.length < names.length) return;
    this.#waiting.delete(key);
    const { isPlain, packed } = this.#maker;
    this.#groups.set(
      key,
      !weights.some(isPlain) && canJoin(weights)
        ? { kind: "joined", product: await packed(key, weights) }
        : { kind: "each", products: await this.#each(layerGroup, names, weights) },
    );
  }

  /** Whether a weight of this name has become part of a product. */
  has(name: string): boolean {
    const layer = findLayer(name);
    return layer !== undefined && this.#groups.has(groupKey(layer.layerGroup));
  }

  async #each(
    { layer }: LayerGroup,
    names: readonly LinearName[],
    weights: readonly Weight[],
  ): Promise<readonly Product[]> {
    const { isPlain, plain, packed } = this.#maker;
    const products: Product[] = [];
    for (const [i, weight] of weights.entries()) {
      const name = `${modulePath({ layer, linear: names[i] as LinearName })}.weight`;
      if (isPlain(weight)) {
        const value = plain(name, weight);
        products.push((x) => linear(x, value));
      } else products.push(await packed(name, [weight]));
    }
    return products;
  }

  /** The outputs of a group on their common input, what an adapter adds to them included. */
  project(x: Value, { layerGroup, widths, values, branches = [] }: ProjectOptions): readonly Value[] {
    const group = this.#groups.get(groupKey(layerGroup));
    const { outs } = widths;
    const biases = GROUPS[layerGroup.group].map((name) =>
      values.get(`${modulePath({ layer: layerGroup.layer, linear: name })}.bias`),
    );
    const plus = (y: Value, z: Value | undefined): Value => (z === undefined ? y : add(y, z));
    const apart = (y: Value): readonly Value[] => split(y, { axis: y.shape.length - 1, sizes: outs });
    const outputs =
      group?.kind === "joined"
        ? apart(group.product(x))
        : (group?.products ?? []).map((product) => product(x));
    return outputs.map((y, i) => plus(plus(y, biases[i]), branches[i]));
  }
}

interface ProjectOptions {
  readonly layerGroup: LayerGroup;
  readonly widths: GroupWidths;
  readonly values: WeightValues;
  /** What an adapter adds to each output. */
  readonly branches: readonly Value[] | undefined;
}
