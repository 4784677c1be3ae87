// An adapter's folder, opened and checked against a base. Reading gives the content of one moment, or an error.
import { countElements, MosError } from "#common";
import { bytesInMemory, openSafetensors, restoreFolder, type SafetensorsFile } from "#files";
import { join, nextTurn } from "#platform";
import { type Adapter, type AdapterConfig, bindMethod, CHUNK_SIZE, drawSeeded } from "./adapter.ts";
import { checkBase, checkDecoder, inferShapes, type TrainedOn } from "./base-match.ts";
import {
  type AdapterBase,
  readFields,
  type SavedBase,
  type SavedFields,
  savedBase,
} from "./folder-config.ts";
import {
  ADAPTER_CONFIG,
  contentDigest,
  type FolderVersion,
  folderVersion,
  openFiles,
  parseFields,
  readAll,
} from "./folder-files.ts";
import type { AdapterTensor, AdapterTensors, LayerShapes, TensorSpec } from "./method.ts";

/** The base that an adapter is loaded for. @inline */
export interface LoadAdapterOptions extends Pick<AdapterBase, "identity" | "tokens"> {
  readonly shapes: LayerShapes;
  /** Undefined if only the adapter itself matters. */
  readonly fingerprint: string | undefined;
}

/** An adapter whose settings and tensors' names and shapes were checked, and whose tensors were not read yet. */
export interface CheckedAdapter {
  readonly config: AdapterConfig;
  /** Set if it was trained on another quantisation of the base, or with other token ids. */
  readonly trainedOn: TrainedOn | undefined;
  /**
   * Reads the tensors. `draw` may give seeded tensors that exist already.
   *
   * @throws MosError `bad_adapter` for a number that is not finite or far too large, or an index that is out of range.
   */
  read(draw?: (spec: TensorSpec, seed: number) => Promise<AdapterTensor>): Promise<Adapter>;
}

/** Both files of an adapter's folder, open. */
export interface AdapterFolder extends AsyncDisposable {
  readonly version: FolderVersion;
  /** SHA-256 of the content of both files. */
  digest(): Promise<string>;
  /** Fields of its adapter_config.json, ours or PEFT's. Throws `bad_adapter`. */
  fields(): SavedFields;
  /** Its tensors, as long as the folder is open. Throws `bad_adapter`, `unsupported`. */
  tensors(): Promise<SafetensorsFile>;
  /** Tests whether the folder still holds these two files, which shows that they belong together. */
  isCurrent(): Promise<boolean>;
  /**
   * Checks the settings and the header of the tensors against a base.
   *
   * @throws MosError `bad_adapter`, `unsupported`.
   */
  check(options: LoadAdapterOptions): Promise<CheckedAdapter>;
  /** The shape of the base that the adapter fits. Throws `bad_option` where its tensors do not determine it. */
  shapes(): Promise<LayerShapes>;
  /**
   * Describes the adapter by its folder alone: settings, base, and numbers of trained and drawn parameters.
   *
   * @throws MosError `bad_adapter`, `unsupported`.
   */
  describe(): Promise<AdapterDescription>;
}

/** Description of an adapter by its folder. */
export interface AdapterDescription {
  readonly config: AdapterConfig;
  readonly base: SavedBase;
  /** Parameters in its file, without index tables. */
  readonly parameters: number;
}

/**
 * Opens an adapter's folder. Nothing is checked but that both files are there. With `inMemory`, the tensors' file is read into
 * memory first, so that the digest is that of the very bytes that are parsed.
 *
 * @throws MosError `not_found`, `bad_adapter`, `storage`.
 * @example
 * await using folder = await openAdapterFolder("adapters/acme");
 * const { config, read } = await folder.check({ shapes, fingerprint });
 * const adapter = await read();
 */
export async function openAdapterFolder(
  folder: string,
  { inMemory = false }: { readonly inMemory?: boolean } = {},
): Promise<AdapterFolder> {
  const { config, tensors, version } = await openFiles(folder);
  const where = join(folder, ADAPTER_CONFIG);
  try {
    const source = inMemory ? bytesInMemory(tensors.path, await readAll(tensors)) : tensors;
    // the handle belongs to the folder, which may be checked more than once
    const open = (): Promise<SafetensorsFile> =>
      openSafetensors({ ...source, [Symbol.asyncDispose]: async () => {} }, { code: "bad_adapter" });
    const fields = (): SavedFields => parseFields(config, where);
    return {
      version,
      fields,
      tensors: open,
      digest: () => contentDigest(config, source),
      isCurrent: async () => (await folderVersion(folder))?.text === version.text,
      shapes: async () => {
        const settings = readFields(fields(), where);
        const shapes = [...(await open()).tensors].map(([name, { shape }]) => [name, shape] as const);
        return inferShapes(settings, new Map(shapes));
      },
      describe: async () => {
        const said = fields();
        const floats = [...(await open()).tensors.values()].filter(({ dtype }) => dtype !== "I32");
        return {
          config: readFields(said, where),
          base: savedBase(said),
          parameters: floats.reduce((sum, { shape }) => sum + countElements(shape), 0),
        };
      },
      check: async (options) => checkAdapter({ folder, where, fields: fields() }, await open(), options),
      [Symbol.asyncDispose]: () => tensors[Symbol.asyncDispose](),
    };
  } catch (error) {
    await tensors[Symbol.asyncDispose]();
    throw error;
  }
}

/**
 * Loads an adapter's folder and checks all of it: settings, tensors, shapes, index ranges, finite values, and that it
 * was trained on this base or, where both have an identity, on another quantisation of it. A plain LoRA that PEFT saved
 * has no fingerprint, and is checked by its shapes.
 *
 * @throws MosError `not_found`, `bad_adapter`, `unsupported`, `storage`.
 */
export async function loadAdapter(folder: string, options: LoadAdapterOptions): Promise<Adapter> {
  for (let attempt = 1; attempt <= LOAD_ATTEMPTS; attempt++) {
    const loaded = await loadOnce(folder, options).catch((error: unknown) => {
      const mayAppear = error instanceof MosError && error.code === "not_found";
      if (mayAppear && attempt < LOAD_ATTEMPTS) return undefined;
      throw error;
    });
    if (loaded !== undefined) return loaded;
  }
  throw new MosError("storage", `${folder}: the folder changed while it was being read; try again`);
}

const LOAD_ATTEMPTS = 4;

/** Undefined where the folder was replaced meanwhile: what was read may be of two adapters. */
async function loadOnce(folder: string, options: LoadAdapterOptions): Promise<Adapter | undefined> {
  await restoreFolder(folder);
  await using opened = await openAdapterFolder(folder);
  const read = opened.check(options).then((checked) => checked.read());
  await read.catch(() => undefined);
  return (await opened.isCurrent()) ? await read : undefined;
}

/**
 * The shape of the base that a saved adapter fits, by its folder alone.
 *
 * @throws MosError `bad_option` where its tensors do not determine it, and what loading an adapter throws.
 */
export async function readShapes(folder: string): Promise<LayerShapes> {
  await restoreFolder(folder);
  await using opened = await openAdapterFolder(folder);
  return await opened.shapes();
}

// Checking

/** The content of an adapter_config.json, and what messages call it and its folder. */
interface SavedSettings {
  readonly folder: string;
  readonly where: string;
  readonly fields: SavedFields;
}

/** The settings, which fit the base. Throws `bad_adapter`, `unsupported`. */
function readSettings(
  { folder, where, fields }: SavedSettings,
  { shapes, fingerprint, identity, tokens }: LoadAdapterOptions,
): Pick<CheckedAdapter, "config" | "trainedOn"> {
  const config = readFields(fields, where);
  const trainedOn =
    fingerprint === undefined
      ? undefined
      : checkBase(folder, savedBase(fields), { fingerprint, identity, tokens });
  checkDecoder(folder, savedBase(fields), shapes.decoder);
  const method = bindMethod(config);
  try {
    method.check(shapes);
  } catch (cause) {
    throw cause instanceof MosError
      ? new MosError("bad_adapter", `${where}: ${cause.message}`, { cause })
      : cause;
  }
  if (fields.seed === undefined && method.tensors(shapes).some(({ role }) => role === "seeded"))
    throw new MosError(
      "bad_adapter",
      `${where}: field "seed", from which a part of the adapter is generated, is missing; save the adapter again`,
    );
  return { config, trainedOn };
}

/** The file must have the tensors of these settings and no others, in their shapes. Throws `bad_adapter`. */
function checkTensors(file: SafetensorsFile, expected: ReadonlyMap<string, TensorSpec>): void {
  const wrong = (what: string): MosError => new MosError("bad_adapter", `${file.path}: ${what}`);
  const part = [...file.tensors.keys()].find((name) => /\blanguage_model\./.test(name));
  if (part !== undefined)
    throw wrong(
      `tensor ${part} belongs to a model that contains the language model; convert the folder with mos import`,
    );
  for (const [name, { shape }] of expected) {
    const found = file.tensors.get(name);
    if (found === undefined)
      throw wrong(`tensor ${name} is missing; the adapter may be for a base of another shape`);
    if (found.shape.join() !== shape.join())
      throw wrong(
        `tensor ${name} has shape [${found.shape.join(", ")}], but this base and these settings need [${shape.join(", ")}]`,
      );
  }
  const extra = [...file.tensors.keys()].find((name) => !expected.has(name));
  if (extra !== undefined) throw wrong(`tensor ${extra} is not part of such an adapter`);
}

function checkAdapter(
  saved: SavedSettings,
  file: SafetensorsFile,
  options: LoadAdapterOptions,
): CheckedAdapter {
  const { shapes } = options;
  const { config, trainedOn } = readSettings(saved, options);
  const method = bindMethod(config);
  const specs = method.tensors(shapes);
  const kept = specs.filter(({ role }) => role !== "seeded");
  checkTensors(file, new Map(kept.map((spec) => [method.tensorName(spec.name), spec])));
  return {
    config,
    trainedOn,
    read: async (draw = drawSeeded) => {
      const tensors = new Map<string, AdapterTensor>();
      for (const spec of specs) {
        const content =
          spec.role === "seeded"
            ? await draw(spec, config.seed)
            : await readTensor(file, { spec, name: method.tensorName(spec.name), before: tensors });
        tensors.set(spec.name, content);
      }
      return { config, shapes, tensors };
    },
  };
}

/** Products of two larger values, summed over the widths of a model, overflow float32. */
const TOO_LARGE = 1e18;

/** The place of the first number that an adapter cannot have. */
async function findUnusable(data: Float32Array): Promise<number | undefined> {
  for (let begin = 0; begin < data.length; begin += CHUNK_SIZE) {
    const part = data.subarray(begin, begin + CHUNK_SIZE);
    const found = part.findIndex((x) => !(Math.abs(x) < TOO_LARGE));
    if (found >= 0) return begin + found;
    if (begin > 0) await nextTurn();
  }
  return undefined;
}

/** Reads one tensor, whose shape was compared with the file's header before, and checks its values. */
async function readTensor(
  file: SafetensorsFile,
  {
    spec,
    name,
    before,
  }: { readonly spec: TensorSpec; readonly name: string; readonly before: AdapterTensors },
): Promise<AdapterTensor> {
  const wrong = (what: string): MosError =>
    new MosError(
      "bad_adapter",
      `${file.path}: ${name}: ${what}, so the file is damaged; save the adapter again`,
    );
  if (spec.dtype === "int32") {
    const data = await file.readInt32(name);
    const flaw = spec.flaw?.(data, before);
    if (flaw !== undefined) throw wrong(flaw);
    return { shape: spec.shape, data };
  }
  const data = await file.readFloat32(name);
  const bad = await findUnusable(data);
  if (bad !== undefined)
    throw wrong(
      `value ${bad} is ${data[bad]}${Number.isFinite(data[bad]) ? `, and products overflow from 1e18` : ""}`,
    );
  return { shape: spec.shape, data };
}
