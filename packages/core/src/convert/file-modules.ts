// The linear layers of a model as its files name them. Some families keep several as one matrix (`qkv_proj`), and adapters
// of other programs are for the one.
import type { Widths } from "#adapters";
import {
  LINEAR_NAMES,
  type ModelConfig,
  modulePath,
  storedPlace,
  type TargetModule,
  toLayerShapes,
} from "#models";

/** One linear layer of a model's files. */
export interface FileModule {
  /** Such as `model.layers.0.self_attn.qkv_proj`; other prefixes than `model.` are those of models that also see. */
  readonly path: string;
  /** The last part of the path, by which PEFT targets it. */
  readonly name: string;
  readonly layer: number;
  /** Modules in memory, in the order of its rows: itself, or those that are fused in it. */
  readonly parts: readonly { readonly target: TargetModule; readonly out: number }[];
  readonly widths: Widths;
}

/** The linear layers of a model by their paths, which begin with `prefix`, in the order of the forward pass. */
export function fileModules(model: ModelConfig, prefix = "model."): ReadonlyMap<string, FileModule> {
  const { layers, widths } = toLayerShapes(model);
  const modules = new Map<string, FileModule>();
  for (let layer = 0; layer < layers; layer++)
    for (const linear of LINEAR_NAMES) {
      const target = { layer, linear };
      const { name } = storedPlace(model, `${modulePath(target)}.weight`);
      const path = name.replace(/\.weight$/, "").replace(/^model\./, prefix);
      const before = modules.get(path);
      const { in: width, out } = widths[linear];
      modules.set(path, {
        path,
        name: path.slice(path.lastIndexOf(".") + 1),
        layer,
        parts: [...(before?.parts ?? []), { target, out }],
        widths: { in: width, out: (before?.widths.out ?? 0) + out },
      });
    }
  return modules;
}

/** Their names, each once. */
export const moduleNames = (modules: ReadonlyMap<string, FileModule>): readonly string[] => [
  ...new Set([...modules.values()].map(({ name }) => name)),
];
