// The tensors of an adapter_model.safetensors, by the site they belong to. Only headers are looked at here.
import type { AdapterGeometry } from "#adapters";
import { MosError } from "#core";
import type { SafetensorsFile } from "#formats";
import { LINEAR_NAMES, modulePath, type Site, siteKey } from "#nn";

/** What a tensor of a site can be; the last four only in the pools that the authors of MoS save. */
export type SitePart = (typeof PARTS)[number];
const PARTS = [
  "lora_A",
  "lora_B",
  "lora_pair_mask",
  "lora_pair_mask_B",
  "lora_A_vec",
  "lora_A_anti_vec",
] as const;

export interface SiteTensors {
  readonly site: Site;
  /** Names in the file. */
  readonly parts: ReadonlyMap<SitePart, string>;
}

/** Tensors that tell of an option of PEFT that a plain LoRA does not have. */
const TELLING: readonly (readonly [RegExp, string])[] = [
  [/lora_magnitude_vector/, "a magnitude of DoRA"],
  [/lora_embedding_[AB]/, "a LoRA of the embedding; train again with linear layers of the decoder alone"],
  [/trainable_tokens|token_adapter/, "trained rows of the embedding"],
  [/lora_B\.(?:\w+\.)?bias$/, "a bias beside B"],
  [/lora_diag/, "singular values of KaSA"],
  [/modules_to_save|(?:embed_tokens|lm_head)\.weight$/, "a whole module that was saved along"],
  [/lm_head\.lora_/, "a LoRA of the head; only linear layers inside the decoder layers can be adapted here"],
];

const NAME =
  /^(?:base_model\.model\.)?(model\.layers\.(\d{1,6})\.[a-z_]+\.([a-z]+_proj))\.(lora_[A-Za-z_]+?)(?:\.([\w -]{1,99}))??(?:\.weight)?$/;

/** A name out of a file for a message: no more than a line, and nothing that steers a terminal. */
const printable = (name: string): string =>
  (name.length > 200 ? `${name.slice(0, 200)}…` : name).replace(/\p{Cc}/gu, "\ufffd");

interface Parsed {
  readonly site: Site;
  readonly part: SitePart;
  /** "default" in `lora_A.default.weight`; empty in PEFT's own files. */
  readonly adapter: string;
}

function parseName(name: string, where: string): Parsed {
  const told = TELLING.find(([pattern]) => pattern.test(name));
  if (told !== undefined)
    throw new MosError(
      "unsupported",
      `${where}: tensor ${printable(name)} is ${told[1]}; merge the adapter into its base with PEFT instead`,
    );
  const [, path, layer, last, kind, adapter = ""] = NAME.exec(name) ?? [];
  const linear = LINEAR_NAMES.find((known) => known === last);
  const part = PARTS.find((known) => known === kind);
  if (linear !== undefined && part !== undefined) {
    const site = { layer: Number(layer), linear };
    if (modulePath(site) === path) return { site, part, adapter };
  }
  throw new MosError(
    "unsupported",
    `${where}: tensor ${printable(name)} is no factor of a linear layer of a Llama; names such as base_model.model.${modulePath({ layer: 0, linear: "q_proj" })}.lora_A.weight are read`,
  );
}

type Found = Map<string, { readonly site: Site; readonly parts: Map<SitePart, string> }>;

function addPart(found: Found, { site, part }: Parsed, name: string): boolean {
  const entry = found.get(siteKey(site)) ?? { site, parts: new Map() };
  if (entry.parts.has(part)) return false;
  found.set(siteKey(site), entry);
  entry.parts.set(part, name);
  return true;
}

/**
 * The tensors of each site, by `${layer}.${linear}`, with and without an adapter's name in them.
 *
 * @throws MosError "unsupported" by name for tensors that are no factors, "bad_adapter" for layers that the base lacks,
 * two adapters in one file, halves of a pair, and a file without any.
 */
export function siteTensors(
  { path: where, tensors }: Pick<SafetensorsFile, "path" | "tensors">,
  { layers, widths }: AdapterGeometry,
): ReadonlyMap<string, SiteTensors> {
  const wrong = (what: string): MosError => new MosError("bad_adapter", `${where}: ${what}`);
  const found: Found = new Map();
  const adapters = new Set<string>();
  for (const name of tensors.keys()) {
    const parsed = parseName(name, where);
    const { layer, linear } = parsed.site;
    if (layer >= layers)
      throw wrong(`tensor ${name} is for layer ${layer}; this base has layers 0 to ${layers - 1}`);
    if (widths[linear] === undefined) throw wrong(`this base has no ${linear}, as in ${name}`);
    if (!addPart(found, parsed, name)) throw wrong(`tensor ${name} occurs under two names`);
    adapters.add(parsed.adapter);
  }
  if (adapters.size > 1)
    throw wrong(`tensors of several adapters (${[...adapters].join(", ")}); save one alone`);
  if (found.size === 0) throw wrong("there are no tensors in it");
  for (const { site, parts } of found.values())
    for (const part of ["lora_A", "lora_B"] as const)
      if (!parts.has(part)) throw wrong(`${modulePath(site)} has no ${part}; the file is incomplete`);
  return found;
}
