// Folders of adapters with random numbers, as a server's customers would have them.
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import {
  type Adapter,
  bindMethod,
  createAdapter,
  type LayerShapes,
  parseAdapterConfig,
  saveAdapter,
} from "mixture-of-shards-core/adapters";
import { randomStream } from "mixture-of-shards-core/common";
import { makeFolder } from "mixture-of-shards-core/files";
import { type LoadedModel, toLayerShapes } from "mixture-of-shards-core/models";

/** MoS at a quarter of the numbers of the LoRA beside it. */
export const KINDS = {
  mos: { method: "mos", rank: 8, equivalentRank: 2 },
  lora: { method: "lora", rank: 8 },
} as const;
export type Kind = keyof typeof KINDS;

/** A new adapter whose B is not zero. Only speed matters: the numbers come from a linear congruence. */
function randomAdapter({ shapes, kind, rank = 8, scale = 0.02 }: FolderOptions, seed: number): Adapter {
  const adapter = createAdapter(parseAdapterConfig({ ...KINDS[kind], rank, seed }), shapes);
  let state = randomStream(seed, "bench").uint32();
  for (const { name, role } of bindMethod(adapter.config).tensors(shapes)) {
    const data = adapter.tensors.get(name)?.data;
    if (role !== "trainable" || data === undefined || data[0] !== 0) continue;
    for (let i = 0; i < data.length; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      data[i] = (state / 2 ** 32 - 0.5) * scale;
    }
  }
  return adapter;
}

export interface FolderOptions {
  readonly shapes: LayerShapes;
  readonly kind: Kind;
  readonly count: number;
  /** Of the base that the adapters say they were made for. */
  readonly fingerprint: string;
  /** What names begin with ("tenant"). */
  readonly prefix?: string;
  /** 8 unless it is given; small models have no room for it. */
  readonly rank?: number;
  /** The width of the numbers of B (0.02): the larger, the more an adapter changes. */
  readonly scale?: number;
}

/** Fills a folder up to so many adapters, `tenant-0` and so on, one for each seed. */
export async function writeAdapters(folder: string, options: FolderOptions): Promise<void> {
  const { kind, count, fingerprint, prefix = "tenant" } = options;
  await makeFolder(folder);
  const present = new Set(await readdir(folder));
  for (let seed = 0; seed < count; seed++) {
    const name = `${prefix}-${seed}`;
    if (present.has(name)) continue;
    const base = { name: "bench", fingerprint };
    await saveAdapter(join(folder, name), randomAdapter(options, seed), { base });
    if (seed % 200 === 0) console.error(`writing ${kind} adapters: ${seed} of ${count}`);
  }
}

/** Fills a folder with `count` adapters, MoS and LoRA alternately, small enough for small models; returns their names. */
export async function makeAdapters(
  folder: string,
  { config, fingerprint }: Pick<LoadedModel, "config" | "fingerprint">,
  { count, scale }: { readonly count: number; readonly scale: number },
): Promise<readonly string[]> {
  const shapes = toLayerShapes(config);
  // of equivalent rank 2, one rank is a layer's own, and the layers share the rest
  const rank = Math.min(8, shapes.layers + 1);
  const kinds: readonly Kind[] = ["mos", "lora"];
  for (const [i, kind] of kinds.entries())
    await writeAdapters(folder, {
      shapes,
      kind,
      rank,
      fingerprint,
      scale,
      prefix: kind,
      count: Math.floor((count + 1 - i) / 2),
    });
  return Array.from({ length: count }, (_, i) => `${kinds[i % 2]}-${Math.floor(i / 2)}`);
}
