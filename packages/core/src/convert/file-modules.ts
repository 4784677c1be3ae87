// The linear layers of a model as transformers names them. In some families several are one matrix (`qkv_proj`), and adapters
// of other programs are for the one.
import type { Widths } from "#adapters";
import { listLayerGroups, type ModelConfig, modulePath, modulePlace, type TargetModule } from "#models";

/** One linear layer of a model in transformers. */
export interface FileModule {
  /** Such as `model.layers.0.self_attn.qkv_proj`; other prefixes than `model.` are those of models that also see. */
  readonly path: string;
  /** The end of the path by which PEFT targets it: the last part, or two where parts of layers have that name in common. */
  readonly name: string;
  readonly layer: number;
  /** Modules in memory, in the order of its rows: itself, or those that are fused in it. */
  readonly parts: readonly { readonly target: TargetModule; readonly out: number }[];
  readonly widths: Widths;
}

interface FileModuleOptions {
  /** Prefix of the paths; `model.` by default. */
  readonly prefix?: string | undefined;
  /** Which linear layers are one; by default those that are in transformers. */
  readonly place?: typeof modulePlace;
}

/** The linear layers of a model by their paths, in the order of the forward pass. */
export function fileModules(
  model: ModelConfig,
  { prefix = "model.", place = modulePlace }: FileModuleOptions = {},
): ReadonlyMap<string, FileModule> {
  const modules = new Map<string, FileModule>();
  const blocks = new Map<string, Set<string>>();
  for (const { layer, linears, in: width, outs } of listLayerGroups(model))
    for (const [i, linear] of linears.entries()) {
      const target = { layer, linear };
      const { name: stored } = place(model, `${modulePath(target)}.weight`);
      const path = stored.replace(/\.weight$/, "").replace(/^model\./, prefix);
      const [before = "", name = ""] = path.split(".").slice(-2);
      const block = before === String(layer) ? "" : before; // some stand in no block
      blocks.set(name, (blocks.get(name) ?? new Set()).add(block));
      const fused = modules.get(path);
      const out = outs[i] ?? 0;
      modules.set(path, {
        path,
        name,
        layer,
        parts: [...(fused?.parts ?? []), { target, out }],
        widths: { in: width, out: (fused?.widths.out ?? 0) + out },
      });
    }
  for (const [path, module] of modules)
    if ((blocks.get(module.name)?.size ?? 0) > 1)
      modules.set(path, { ...module, name: path.split(".").slice(-2).join(".") });
  return modules;
}

/** Their names, each once. */
export const moduleNames = (modules: ReadonlyMap<string, FileModule>): readonly string[] => [
  ...new Set([...modules.values()].map(({ name }) => name)),
];
