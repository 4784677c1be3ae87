// The tensors of an adapter_model.safetensors by the module they belong to, and the factors of a module: plain ones, and
// those that the authors of MoS leave as pools with masks.
// L layers · e rank that the pools pay for · r rank · l chunks of a vector.
import { countElements, MosError } from "#common";
import type { SafetensorsFile } from "#files";
import { isForPictures, moduleKey } from "#models";
import { type Factors, type ModuleFactors, maxExpandedSize, transposed } from "./assemble-lora.ts";
import { type FileModule, moduleNames } from "./file-modules.ts";
import { splitFactors } from "./fuse-factors.ts";

/** Role of a module's tensor; the last four only in pools saved by the authors of MoS. */
type ModulePart = (typeof PARTS)[number];
const PARTS = [
  "lora_A",
  "lora_B",
  "lora_pair_mask",
  "lora_pair_mask_B",
  "lora_A_vec",
  "lora_A_anti_vec",
] as const;

export interface ModuleTensors {
  readonly module: FileModule;
  /** Names in the file. */
  readonly parts: ReadonlyMap<ModulePart, string>;
}

/** Tensors that show an option of PEFT that a plain LoRA does not have. */
const OPTION_TENSORS: readonly (readonly [RegExp, string])[] = [
  [/lora_magnitude_vector/, "a magnitude of DoRA"],
  [
    /lm_head\.(?:lora_|base_layer\.)/,
    "part of a LoRA of the head; train again with linear layers of the decoder alone",
  ],
  [
    /lora_embedding_[AB]|embed_tokens\.base_layer\./,
    "part of a LoRA of the embedding; train again with linear layers of the decoder alone",
  ],
  [/trainable_tokens|token_adapter/, "trained rows of the embedding"],
  [/lora_B\.(?:\w+\.)?bias$/, "a bias of B"],
  [/lora_diag/, "singular values of KaSA"],
  [/modules_to_save|(?:embed_tokens|lm_head)\.weight$/, "a whole module that was also trained"],
];

const NAME =
  /^(?:base_model\.model\.)?((?:model|model\.(?:language|text)_model|language_model\.model)\.layers\.(\d{1,6})\.(?:[a-z_]+\.)?[a-z\d_]+)\.(lora_[A-Za-z_]+?)(?:\.([\w -]{1,99}))??(?:\.weight)?$/;

/** A name out of a file for a message: no more than a line, and nothing that steers a terminal. */
export const printable = (name: string): string =>
  (name.length > 200 ? `${name.slice(0, 200)}…` : name).replace(/\p{Cc}/gu, "\ufffd");

interface Parsed {
  readonly module: FileModule;
  readonly part: ModulePart;
  /** "default" in `lora_A.default.weight`; empty in PEFT's own files. */
  readonly adapter: string;
}

/** The name without what PEFT puts before every module. */
export const nameInModel = (name: string): string => name.replace(/^base_model\.model\./, "");

/** The linear layers of the base by their paths. */
type Modules = ReadonlyMap<string, FileModule>;

function parseName(name: string, modules: Modules, where: string): Parsed {
  const told = OPTION_TENSORS.find(([pattern]) => pattern.test(name));
  if (told !== undefined)
    throw new MosError(
      "unsupported",
      `${where}: tensor ${printable(name)} is ${told[1]}; merge the adapter into its base with PEFT instead`,
    );
  const [, path = "", layer = "", kind, adapter = ""] = NAME.exec(name) ?? [];
  const module = modules.get(path);
  const part = PARTS.find((known) => known === kind);
  if (module !== undefined && part !== undefined) return { module, part, adapter };
  const [first] = modules.keys();
  if (module === undefined && modules.has(path.replace(`.${layer}.`, ".0."))) {
    const last = Math.max(...[...modules.values()].map((known) => known.layer));
    throw new MosError(
      "bad_adapter",
      `${where}: tensor ${name} is for layer ${layer}; this base has layers 0 to ${last}`,
    );
  }
  throw new MosError(
    "unsupported",
    `${where}: tensor ${printable(name)} is not a factor of a linear layer of this base, which has ${moduleNames(modules).join(", ")}; expected names such as base_model.model.${first}.lora_A.weight`,
  );
}

type ModuleTensorMap = Map<string, { readonly module: FileModule; readonly parts: Map<ModulePart, string> }>;

function addPart(found: ModuleTensorMap, { module, part }: Parsed, name: string): boolean {
  const entry = found.get(module.path) ?? { module, parts: new Map() };
  if (entry.parts.has(part)) return false;
  found.set(module.path, entry);
  entry.parts.set(part, name);
  return true;
}

/**
 * The tensors of each module by its path, with and without an adapter's name in them. Vision modules are left out, as they
 * are in the base: PEFT adapts them too where target_modules gives only the last part of a name.
 *
 * @throws MosError "unsupported" by name for tensors that are not factors, "bad_adapter" for layers that the base lacks,
 * two adapters in one file, halves of a pair, and a file without any.
 */
export function moduleTensors(
  { path: where, tensors }: Pick<SafetensorsFile, "path" | "tensors">,
  modules: Modules,
): ReadonlyMap<string, ModuleTensors> {
  const invalid = (what: string): MosError => new MosError("bad_adapter", `${where}: ${what}`);
  const found: ModuleTensorMap = new Map();
  const adapters = new Set<string>();
  for (const name of tensors.keys()) {
    if (isForPictures(nameInModel(name))) continue;
    const parsed = parseName(name, modules, where);
    if (!addPart(found, parsed, name)) throw invalid(`tensor ${name} occurs under two names`);
    adapters.add(parsed.adapter);
  }
  if (adapters.size > 1)
    throw invalid(`tensors of several adapters (${[...adapters].join(", ")}); save only one`);
  if (found.size === 0) throw invalid("the file has no tensors of a language model");
  for (const { module, parts } of found.values())
    for (const part of ["lora_A", "lora_B"] as const)
      if (!parts.has(part)) throw invalid(`${module.path} has no ${part}; the file is incomplete`);
  return found;
}

const MAX_RANK = 4096;

/** A file of named tensors. */
interface TensorFile {
  readonly path: string;
  readonly tensors: ReadonlyMap<string, { readonly shape: readonly number[] }>;
  readFloat32(name: string): Promise<Float32Array>;
}

const invalid = (file: TensorFile, what: string): MosError =>
  new MosError("bad_adapter", `${file.path}: ${what}`);

type PartPlace = ReturnType<typeof describePart>;

/** Name and shape of one part; every tensor that is needed was found before. */
function describePart(file: TensorFile, { module, parts }: ModuleTensors, part: ModulePart) {
  const name = parts.get(part) ?? "";
  const shape = file.tensors.get(name)?.shape;
  if (shape === undefined) throw invalid(file, `${module.path} has no ${part}; the file is incomplete`);
  return { name, shape };
}

async function readFinite(file: TensorFile, name: string): Promise<Float32Array> {
  const data = await file.readFloat32(name);
  const bad = data.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0)
    throw invalid(
      file,
      `${name}: value ${bad} is ${data[bad]}, so the file is damaged; save the adapter again`,
    );
  return data;
}

const written = (shape: readonly (number | string)[]): string => `[${shape.join(", ")}]`;

function checkRank(file: TensorFile, name: string, rank: number): void {
  if (!(Number.isInteger(rank) && rank >= 1 && rank <= MAX_RANK))
    throw invalid(file, `${name} has rank ${rank}; ranks from 1 to ${MAX_RANK} are supported`);
}

/** A [r, in] and B [out, r] as they stand in the file. */
export async function readPlainFactors(tensors: ModuleTensors, file: TensorFile): Promise<Factors> {
  const { widths } = tensors.module;
  const [a, b] = [describePart(file, tensors, "lora_A"), describePart(file, tensors, "lora_B")];
  const rank = a.shape[0] ?? 0;
  if (a.shape.length !== 2 || a.shape[1] !== widths.in)
    throw invalid(
      file,
      `${a.name} has shape ${written(a.shape)}, but this base needs ${written(["rank", widths.in])}`,
    );
  checkRank(file, a.name, rank);
  if (b.shape.length !== 2 || b.shape[0] !== widths.out || b.shape[1] !== rank)
    throw invalid(
      file,
      `${b.name} has shape ${written(b.shape)}, but this base and its A need ${written([widths.out, rank])}`,
    );
  return { rank, a: await readFinite(file, a.name), b: await readFinite(file, b.name) };
}

/** The factors of each linear layer in a module that has any, by its key. */
export const layerFactors = (
  { parts }: FileModule,
  factors: Factors,
  scale: number,
): readonly (readonly [key: string, factors: ModuleFactors])[] => {
  const outs = parts.map(({ out }) => out);
  return splitFactors(factors, outs).flatMap((own, i) => {
    const target = parts[i]?.target;
    return own === undefined || target === undefined ? [] : [[moduleKey(target), { ...own, scale }] as const];
  });
};

/** lora_A_vec · lora_A_anti_vec, [r]: the authors' code multiplies the ranks by it; 1 where they are absent. */
async function readVector(
  tensors: ModuleTensors,
  { file, rank }: { readonly file: SafetensorsFile; readonly rank: number },
): Promise<Float32Array> {
  const result = new Float32Array(rank).fill(1);
  for (const part of ["lora_A_vec", "lora_A_anti_vec"] as const) {
    if (!tensors.parts.has(part)) continue;
    const { name, shape } = describePart(file, tensors, part);
    if (shape.length !== 1 || shape[0] !== rank)
      throw invalid(file, `${name} has shape ${written(shape)}; expected ${written([rank])}`);
    const data = await readFinite(file, name);
    for (let i = 0; i < rank; i++) result[i] = (result[i] ?? 0) * (data[i] ?? 0);
  }
  return result;
}

/** Refuses pools whose masks would make a large adapter of a small file: each entry becomes a chunk. Only headers are read. */
export function checkExpansion(modules: Iterable<ModuleTensors>, file: SafetensorsFile): void {
  let expanded = 0;
  for (const { parts } of modules) {
    const partShape = (part: ModulePart) => file.tensors.get(parts.get(part) ?? "")?.shape;
    if (!parts.has("lora_pair_mask")) continue;
    expanded += countElements(partShape("lora_pair_mask") ?? []) * (partShape("lora_A")?.[1] ?? 0);
    expanded += countElements(partShape("lora_pair_mask_B") ?? []) * (partShape("lora_B")?.[0] ?? 0);
  }
  const most = maxExpandedSize(
    [...file.tensors.values()].reduce((sum, { shape }) => sum + countElements(shape), 0),
  );
  if (expanded > most)
    throw invalid(
      file,
      `its masks would expand the pools to ${expanded} values; the limit for a file of this size is ${most}`,
    );
}

/** Row j of the result is the join of the chunks mask[j·l] to mask[j·l + l − 1]: [r, width of the layer]. */
async function joinChunks(
  file: SafetensorsFile,
  { pool, mask, inColumns }: Readonly<Record<"pool" | "mask", PartPlace>> & { readonly inColumns: boolean },
): Promise<Float32Array> {
  const stored = await readFinite(file, pool.name);
  const [rows = 0, columns = 0] = pool.shape;
  const chunks = inColumns ? transposed(stored, columns) : stored;
  const [count, width] = inColumns ? [columns, rows] : [rows, columns];
  const indices = await file.readInt32(mask.name);
  const result = new Float32Array(indices.length * width);
  indices.forEach((index, i) => {
    if (index < 0 || index >= count)
      throw invalid(file, `${mask.name}: entry ${i} is ${index}, but the pool has ${count} chunks`);
    result.set(chunks.subarray(index * width, (index + 1) * width), i * width);
  });
  return result;
}

/**
 * Factors of pools A [L·e·l, in / l] and B [out / l, L·e·l] with a mask [r·l] for each, as PEFT's own saving leaves them
 * beside the expanded adapter_model.bin of the authors' code.
 */
export async function readPooledFactors(tensors: ModuleTensors, file: SafetensorsFile): Promise<Factors> {
  const { widths } = tensors.module;
  const [poolA, poolB] = [describePart(file, tensors, "lora_A"), describePart(file, tensors, "lora_B")];
  const maskA = describePart(file, tensors, "lora_pair_mask");
  const maskB = describePart(file, tensors, "lora_pair_mask_B");
  const chunks = widths.in / (poolA.shape[1] ?? 0);
  const isPool =
    Number.isInteger(chunks) &&
    [poolA, poolB].every(({ shape }) => shape.length === 2) &&
    (poolB.shape[0] ?? 0) * chunks === widths.out &&
    poolA.shape[0] === poolB.shape[1];
  if (!isPool)
    throw invalid(
      file,
      `${poolA.name} ${written(poolA.shape)} and ${poolB.name} ${written(poolB.shape)} are not pools for a layer of ${widths.in} by ${widths.out}`,
    );
  const rank = (maskA.shape[0] ?? 0) / chunks;
  if (maskA.shape.length !== 1 || maskA.shape.join() !== maskB.shape.join())
    throw invalid(
      file,
      `${maskA.name} ${written(maskA.shape)} and ${maskB.name} ${written(maskB.shape)} differ`,
    );
  checkRank(file, maskA.name, rank);
  const a = await joinChunks(file, { pool: poolA, mask: maskA, inColumns: false });
  const b = await joinChunks(file, { pool: poolB, mask: maskB, inColumns: true });
  const vector = await readVector(tensors, { file, rank });
  for (let i = 0; i < a.length; i++) a[i] = (a[i] ?? 0) * (vector[Math.floor(i / widths.in)] ?? 0);
  return { rank, a, b: transposed(b, widths.out) };
}
