// Attention masks of the general program, for layers with full attention and for layers with a window.
// R slots of the step · S new tokens of each · M positions of the cache · G query heads of a key head · W tokens of a window
import { type HostTensor, leaf, type Value, windowMask } from "#graph";
import { layerWindow, type ModelConfig } from "#models";

/** Masks that are added to attention scores. */
export interface AttentionMasks {
  /** On tokens of the cache, [R, 1, 1, M]; with a window [R, 1, G · S, M]. */
  readonly cached: Value;
  /** On new tokens, [1, 1, G · S, S]. */
  readonly added: Value;
}

const maskName = (mask: string, window: number | undefined): string =>
  window === undefined ? mask : `${mask}.${window}`;

function makeMasks(window: number | undefined): AttentionMasks {
  const cached = leaf("past_mask", ["slots", 1, 1, "cached"]);
  const added = leaf(maskName("new_mask", window), [1, 1, "grouped", "tokens"]);
  if (window === undefined) return { cached, added };
  const positions = leaf("cached_positions", ["cached"], "int32");
  const first = leaf(maskName("first_seen", window), ["slots", 1, "grouped", 1], "int32");
  return { cached: windowMask(cached, positions, first), added };
}

/** The masks of each layer of a graph, in which no sequence is longer than `maxLength`. Layers of a kind share them. */
export function attentionMasks(config: ModelConfig, maxLength: number): (layer: number) => AttentionMasks {
  const made = new Map<number | undefined, AttentionMasks>();
  return (layer) => {
    const window = layerWindow(config, layer, maxLength);
    const masks = made.get(window) ?? makeMasks(window);
    made.set(window, masks);
    return masks;
  };
}

/** The new tokens of a step. */
export interface NewTokens {
  /** [R, S] */
  readonly positions: Int32Array;
  /** R */
  readonly count: number;
  /** The longest sequence that the graph was built for. */
  readonly maxLength: number;
}

/** What the masks of a graph are made from, but for what the cache gives. */
export function maskFeeds(
  config: ModelConfig,
  { positions, count, maxLength }: NewTokens,
): Record<string, HostTensor> {
  const S = positions.length / count;
  const groups = config.heads / config.keyValueHeads;
  const feeds: Record<string, HostTensor> = {};
  const windows = Array.from({ length: config.layers }, (_, layer) => layerWindow(config, layer, maxLength));
  for (const window of new Set(windows)) {
    const data = causalMask(S, { groups, window });
    feeds[maskName("new_mask", window)] = { shape: [1, 1, groups * S, S], data };
    if (window === undefined) continue;
    const first = Int32Array.from({ length: count * groups * S }, (_, i) => {
      const [slot, token] = [Math.floor(i / (groups * S)), i % S];
      return (positions[slot * S + token] as number) - window + 1;
    });
    feeds[maskName("first_seen", window)] = { shape: [count, 1, groups * S, 1], data: first };
  }
  return feeds;
}

interface CausalMaskOptions {
  readonly groups: number;
  readonly window: number | undefined;
}

/** 0 for the last `window` tokens up to a query's own, −10³⁰ for all others: [G · S, S] */
function causalMask(S: number, { groups, window = S }: CausalMaskOptions): Float32Array {
  const mask = new Float32Array(groups * S * S);
  for (let row = 0; row < groups * S; row++) {
    const query = row % S;
    mask.fill(-1e30, row * S, row * S + Math.max(0, query - window + 1));
    mask.fill(-1e30, row * S + query + 1, (row + 1) * S);
  }
  return mask;
}
