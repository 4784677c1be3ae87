// An adapter's folder in the shape of Hugging Face PEFT: adapter_config.json and adapter_model.safetensors. It may be
// replaced while it is read; reading gives the content of one moment, or an error.
import { createHash, webcrypto } from "node:crypto";
import type { BigIntStats } from "node:fs";
import { realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { decodeText, MosError, parseJson, parseWith } from "#core";
import {
  type ByteSource,
  bytesInMemory,
  openForReading,
  openSafetensors,
  pathExists,
  type ReadableFile,
  readBytes,
  restoreFolder,
  type SafetensorsFile,
  storageError,
  systemCode,
  type WritableTensor,
  writeFileAtomic,
  writeFolderAtomic,
  writeSafetensors,
} from "#files";
import { type Adapter, drawSeeded, NUMBERS_AT_ONCE } from "./adapter.ts";
import { type BaseMarks, checkBase, checkDecoder, type TrainedOn } from "./base-match.ts";
import {
  type AdapterBase,
  baseOf,
  readFields,
  type SavedBase,
  type SavedFields,
  savedFields,
  writeFields,
} from "./folder-config.ts";
import { inferGeometry } from "./infer-geometry.ts";
import type { AdapterGeometry, AdapterTensor, AdapterTensors, TensorSpec } from "./method.ts";
import { type AdapterConfig, methodOf } from "./methods.ts";

/** The file of an adapter's folder that holds its settings. */
export const ADAPTER_CONFIG = "adapter_config.json";
/** The file of an adapter's folder that holds its tensors. */
export const ADAPTER_TENSORS = "adapter_model.safetensors";

/** Bytes of an adapter_config.json: more than any adapter has, and few enough to be parsed at once. */
export const LARGEST_CONFIG = 1 << 18;
/** The same for entries of a list or an object in it. */
const MOST_ENTRIES = 2_000;

// Writing

/**
 * Writes the two files into a folder that may hold other things, each complete or absent. The config comes last:
 * a folder without it is not an adapter.
 *
 * @throws MosError `storage`, `not_found`.
 */
export async function writeAdapterFiles(
  folder: string,
  adapter: Adapter,
  { base }: { readonly base: AdapterBase },
): Promise<void> {
  const method = methodOf(adapter.config);
  const named = new Map<string, WritableTensor>();
  const seeded = new Set(
    method.tensors(adapter.geometry).flatMap(({ name, role }) => (role === "seeded" ? [name] : [])),
  );
  for (const [name, { shape, data }] of adapter.tensors) {
    if (seeded.has(name)) continue;
    named.set(
      method.tensorName(name),
      data instanceof Int32Array ? { dtype: "I32", shape, data } : { dtype: "F32", shape, data },
    );
  }
  await writeSafetensors(join(folder, ADAPTER_TENSORS), Object.fromEntries(named), { format: "pt" });
  await writeFileAtomic(
    join(folder, ADAPTER_CONFIG),
    `${JSON.stringify(writeFields(adapter, base), null, 2)}\n`,
  );
}

/**
 * Saves an adapter as a folder of its own, which replaces what was there only when it is complete.
 *
 * @throws MosError `storage`.
 */
export const saveAdapter = (
  folder: string,
  adapter: Adapter,
  options: { readonly base: AdapterBase },
): Promise<void> => writeFolderAtomic(folder, (into) => writeAdapterFiles(into, adapter, options));

// Versions

/** When the files of an adapter's folder changed last, and a text that differs whenever one of them has changed. */
export interface FolderVersion {
  readonly text: string;
  /** Seconds since 1970. */
  readonly changedAt: number;
}

/** Changes whenever the file does; needs no reading. */
const stampOf = ({ ino, size, mtimeNs, ctimeNs }: BigIntStats): string =>
  `${ino}:${size}:${mtimeNs}:${ctimeNs}`;

function versionOf(config: BigIntStats, tensors: BigIntStats | undefined): FolderVersion {
  const newest = Math.max(Number(config.mtimeMs), Number(tensors?.mtimeMs ?? 0));
  return {
    text: `${stampOf(config)} ${tensors === undefined ? "" : stampOf(tensors)}`,
    changedAt: newest / 1000,
  };
}

async function statOf(path: string): Promise<BigIntStats | undefined> {
  try {
    return await stat(path, { bigint: true });
  } catch (error) {
    const code = systemCode(error);
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw error;
  }
}

/** The version of an adapter's folder; undefined where there is no adapter. */
export async function folderVersion(folder: string): Promise<FolderVersion | undefined> {
  const [config, tensors] = await Promise.all([
    statOf(join(folder, ADAPTER_CONFIG)),
    statOf(join(folder, ADAPTER_TENSORS)),
  ]);
  return config === undefined ? undefined : versionOf(config, tensors);
}

/** Hashed a piece at a time, on the threads of Web Crypto, so that the event loop is not blocked. */
const PIECE = 1 << 22;

/** SHA-256 over the settings and the digests of the tensors' pieces of 4 MiB. */
async function contentDigest(config: Uint8Array, tensors: ByteSource): Promise<string> {
  const hash = createHash("sha256").update(`${config.length} ${tensors.size}\n`).update(config);
  const buffer = new Uint8Array(Math.min(PIECE, tensors.size));
  for (let done = 0; done < tensors.size; done += buffer.length) {
    const piece = buffer.subarray(0, Math.min(buffer.length, tensors.size - done));
    await tensors.read(piece, done);
    hash.update(new Uint8Array(await webcrypto.subtle.digest("SHA-256", piece)));
  }
  return `sha256:${hash.digest("hex")}`;
}

// Opening

const noAdapter = (folder: string): MosError =>
  new MosError("not_found", `${folder}: no adapter here (there is no ${ADAPTER_CONFIG})`);

/** What has too many entries is refused before they are looked at one by one. */
function refuseLong(value: unknown, where: string): void {
  if (typeof value !== "object" || value === null) return;
  const { length } = Object.keys(value);
  if (length > MOST_ENTRIES)
    throw new MosError("bad_adapter", `${where} has ${length} entries; at most ${MOST_ENTRIES} are read`);
}

function parseFields(bytes: Uint8Array, where: string): SavedFields {
  const place = { code: "bad_adapter", where } as const;
  const value = parseJson(decodeText(bytes, place), place);
  refuseLong(value, `${where}: this`);
  for (const [name, field] of Object.entries(value ?? {})) refuseLong(field, `${where}: field "${name}"`);
  return parseWith(savedFields, value, place);
}

/**
 * What an adapter's folder says about its base; the tensors are not looked at.
 *
 * @throws MosError `not_found`, `bad_adapter`, `storage`.
 */
export async function readAdapterBase(folder: string): Promise<SavedBase> {
  await restoreFolder(folder);
  const where = join(folder, ADAPTER_CONFIG);
  if (!(await pathExists(where))) throw noAdapter(folder);
  const bytes = await readBytes(where, { code: "bad_adapter", maximumBytes: LARGEST_CONFIG });
  return baseOf(parseFields(bytes, where));
}

/** Opens a file of the folder `real`, which messages call `folder`. */
async function openFile(real: string, folder: string, name: string): Promise<ReadableFile> {
  try {
    const file = await openForReading(join(real, name), "bad_adapter");
    return { ...file, path: join(folder, name) };
  } catch (error) {
    if (!(error instanceof MosError)) throw error;
    throw new MosError(error.code, error.message.replaceAll(real, folder), { cause: error });
  }
}

async function openTensors(real: string, folder: string): Promise<ReadableFile> {
  if (await pathExists(join(real, ADAPTER_TENSORS))) return openFile(real, folder, ADAPTER_TENSORS);
  const advice = (await pathExists(join(real, "adapter_model.bin")))
    ? "; adapter_model.bin may hold code and is never read, save the adapter as safetensors"
    : "";
  throw new MosError("not_found", `${folder}: ${ADAPTER_TENSORS} is missing${advice}`);
}

async function readAll(file: ByteSource): Promise<Uint8Array> {
  const bytes = new Uint8Array(file.size);
  await file.read(bytes, 0);
  return bytes;
}

interface FolderFiles {
  readonly config: Uint8Array;
  readonly tensors: ReadableFile;
  readonly version: FolderVersion;
}

async function openFiles(folder: string): Promise<FolderFiles> {
  if (!(await pathExists(join(folder, ADAPTER_CONFIG)))) throw noAdapter(folder);
  // if `folder` is a link that changes now, both files still come from one folder
  const real = await realpath(folder).catch((error: unknown) => {
    throw storageError(error, folder);
  });
  await using config = await openFile(real, folder, ADAPTER_CONFIG);
  if (config.size > LARGEST_CONFIG)
    throw new MosError(
      "bad_adapter",
      `${config.path}: ${config.size} bytes are too many; at most ${LARGEST_CONFIG} are read`,
    );
  const tensors = await openTensors(real, folder);
  try {
    const stats = [
      await config.handle.stat({ bigint: true }),
      await tensors.handle.stat({ bigint: true }),
    ] as const;
    return { config: await readAll(config), tensors, version: versionOf(...stats) };
  } catch (error) {
    await tensors[Symbol.asyncDispose]();
    throw error;
  }
}

/** What an adapter is checked against. */
export interface LoadAdapterOptions {
  readonly geometry: AdapterGeometry;
  /** Of the base that the adapter is to be used with; undefined where only the adapter itself matters. */
  readonly fingerprint: string | undefined;
  /** Of that base, which its other quantisations share. */
  readonly identity?: string | undefined;
  /** How its tokenizer turns text into ids; left out, that is not compared. */
  readonly tokens?: BaseMarks["tokens"];
}

/** An adapter whose settings and tensors' names and shapes were checked, and whose numbers were not read yet. */
export interface CheckedAdapter {
  readonly config: AdapterConfig;
  /** Where it was trained on another quantisation of the base, or with other token ids. */
  readonly trainedOn: TrainedOn | undefined;
  /**
   * Reads the tensors. `draw` may give seeded tensors that exist already.
   *
   * @throws MosError `bad_adapter` for a number that is not finite or far too large, or an index that is out of range.
   */
  read(draw?: DrawTensor): Promise<Adapter>;
}

/** Gives the content of a tensor that is drawn from a seed. */
export type DrawTensor = (spec: TensorSpec, seed: number) => Promise<AdapterTensor>;

/** Both files of an adapter's folder, open. */
export interface AdapterFolder extends AsyncDisposable {
  readonly version: FolderVersion;
  /** SHA-256 of the content of both files. */
  digest(): Promise<string>;
  /** Whether the folder still holds these two files, which shows that they belong together. */
  isCurrent(): Promise<boolean>;
  /**
   * Checks the settings and the header of the tensors against a base.
   *
   * @throws MosError `bad_adapter`, `unsupported`.
   */
  check(options: LoadAdapterOptions): Promise<CheckedAdapter>;
  /** The shape of the base that the adapter fits. Throws `bad_option` where its tensors do not determine it. */
  geometry(): Promise<AdapterGeometry>;
  /**
   * What the folder alone says: settings, base, and how many numbers were trained or drawn.
   *
   * @throws MosError `bad_adapter`, `unsupported`.
   */
  describe(): Promise<AdapterDescription>;
}

/** What an adapter's folder says about it. */
export interface AdapterDescription {
  readonly config: AdapterConfig;
  readonly base: SavedBase;
  /** Numbers in its file, without index tables. */
  readonly parameters: number;
}

export interface OpenAdapterOptions {
  /** Read the tensors' file into memory first, so that the digest is that of the very bytes that are parsed. */
  readonly inMemory?: boolean;
}

/**
 * Opens an adapter's folder. Nothing is checked but that both files are there.
 *
 * @throws MosError `not_found`, `bad_adapter`, `storage`.
 * @example
 * await using folder = await openAdapterFolder("adapters/acme");
 * const { config, read } = await folder.check({ geometry, fingerprint });
 * const adapter = await read();
 */
export async function openAdapterFolder(
  folder: string,
  { inMemory = false }: OpenAdapterOptions = {},
): Promise<AdapterFolder> {
  const { config, tensors, version } = await openFiles(folder);
  const where = join(folder, ADAPTER_CONFIG);
  try {
    const source = inMemory ? bytesInMemory(tensors.path, await readAll(tensors)) : tensors;
    // the handle belongs to the folder, which may be checked more than once
    const open = (): Promise<SafetensorsFile> =>
      openSafetensors({ ...source, [Symbol.asyncDispose]: async () => {} }, { code: "bad_adapter" });
    return {
      version,
      digest: () => contentDigest(config, source),
      isCurrent: async () => (await folderVersion(folder))?.text === version.text,
      geometry: async () => {
        const settings = readFields(parseFields(config, where), where);
        const shapes = [...(await open()).tensors].map(([name, { shape }]) => [name, shape] as const);
        return inferGeometry(settings, new Map(shapes));
      },
      describe: async () => {
        const fields = parseFields(config, where);
        const floats = [...(await open()).tensors.values()].filter(({ dtype }) => dtype !== "I32");
        return {
          config: readFields(fields, where),
          base: baseOf(fields),
          parameters: floats.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0),
        };
      },
      check: async (options) =>
        checkAdapter({ folder, where, fields: parseFields(config, where) }, await open(), options),
      [Symbol.asyncDispose]: () => tensors[Symbol.asyncDispose](),
    };
  } catch (error) {
    await tensors[Symbol.asyncDispose]();
    throw error;
  }
}

/**
 * Loads an adapter's folder and checks all of it: settings, tensors, shapes, index ranges, finite numbers, and that it
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
  throw new MosError("storage", `${folder}: this folder changes while it is read; try again`);
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
export async function readGeometry(folder: string): Promise<AdapterGeometry> {
  await restoreFolder(folder);
  await using opened = await openAdapterFolder(folder);
  return await opened.geometry();
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
  { geometry, fingerprint, identity, tokens }: LoadAdapterOptions,
): Pick<CheckedAdapter, "config" | "trainedOn"> {
  const config = readFields(fields, where);
  const trainedOn =
    fingerprint === undefined
      ? undefined
      : checkBase(folder, baseOf(fields), { fingerprint, identity, tokens });
  checkDecoder(folder, baseOf(fields), geometry.decoder);
  const method = methodOf(config);
  try {
    method.check(geometry);
  } catch (cause) {
    throw cause instanceof MosError
      ? new MosError("bad_adapter", `${where}: ${cause.message}`, { cause })
      : cause;
  }
  if (fields.seed === undefined && method.tensors(geometry).some(({ role }) => role === "seeded"))
    throw new MosError(
      "bad_adapter",
      `${where}: field "seed" is missing, and a part of the adapter is drawn from it; save the adapter again`,
    );
  return { config, trainedOn };
}

/** The file must have the tensors of these settings and no others, in their shapes. Throws `bad_adapter`. */
function checkTensors(file: SafetensorsFile, expected: ReadonlyMap<string, TensorSpec>): void {
  const wrong = (what: string): MosError => new MosError("bad_adapter", `${file.path}: ${what}`);
  const part = [...file.tensors.keys()].find((name) => /\blanguage_model\./.test(name));
  if (part !== undefined)
    throw wrong(
      `tensor ${part} is for a model that holds the language model as a part; mos import makes an adapter of such a folder`,
    );
  for (const [name, { shape }] of expected) {
    const found = file.tensors.get(name);
    if (found === undefined)
      throw wrong(`tensor ${name} is missing; the adapter may be for a base of another shape`);
    if (found.shape.join() !== shape.join())
      throw wrong(
        `tensor ${name} has shape [${found.shape.join(", ")}], this base and these settings need [${shape.join(", ")}]`,
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
  const { geometry } = options;
  const { config, trainedOn } = readSettings(saved, options);
  const method = methodOf(config);
  const specs = method.tensors(geometry);
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
      return { config, geometry, tensors };
    },
  };
}

interface TensorPlace {
  readonly spec: TensorSpec;
  /** In the file. */
  readonly name: string;
  readonly before: AdapterTensors;
}

/** The products of two such numbers, summed over the widths of a model, are no float32 any more. */
const TOO_LARGE = 1e18;

/** The place of the first number that an adapter cannot have. */
async function findUnusable(data: Float32Array): Promise<number | undefined> {
  for (let begin = 0; begin < data.length; begin += NUMBERS_AT_ONCE) {
    const part = data.subarray(begin, begin + NUMBERS_AT_ONCE);
    const found = part.findIndex((x) => !(Math.abs(x) < TOO_LARGE));
    if (found >= 0) return begin + found;
    if (begin > 0) await setImmediate();
  }
  return undefined;
}

/** Reads one tensor, whose shape was compared with the file's header before, and checks its numbers. */
async function readTensor(
  file: SafetensorsFile,
  { spec, name, before }: TensorPlace,
): Promise<AdapterTensor> {
  const wrong = (what: string): MosError =>
    new MosError("bad_adapter", `${file.path}: ${name}: ${what}; the file is broken, save the adapter again`);
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
      `number ${bad} is ${data[bad]}${Number.isFinite(data[bad]) ? `, and from 1e18 on products overflow` : ""}`,
    );
  return { shape: spec.shape, data };
}
