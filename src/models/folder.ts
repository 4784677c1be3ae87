// A Hugging Face folder: config.json, and model.safetensors whole or in shards.

import { join } from "node:path";
import { z } from "zod";
import { MosError } from "#core";
import {
  listFolder,
  type NumberRange,
  openSafetensors,
  pathExists,
  readJson,
  type SafetensorsDtype,
  type SafetensorsFile,
  type StoredType,
} from "#files";
import type { ModelConfig } from "./config.ts";
import { parseHuggingFaceConfig } from "./config-json.ts";
import { isForPictures, modulePrefix, textName } from "./nested.ts";

const WHOLE = "model.safetensors";
const INDEX = "model.safetensors.index.json";

const indexSchema = z.looseObject({ weight_map: z.record(z.string(), z.string()) });
const options = { code: "bad_model" } as const;

/** Contents of config.json. */
interface FolderConfig {
  readonly config: ModelConfig;
  /** Prefix of the language model's module names in transformers. */
  readonly modulePrefix: string;
}

/** Reads config.json and, where there is one, generation_config.json. */
export async function readFolderConfig(folder: string): Promise<FolderConfig> {
  const where = join(folder, "config.json");
  const json = await readJson(where, z.unknown(), options);
  const generationPath = join(folder, "generation_config.json");
  const generation = (await pathExists(generationPath))
    ? await readJson(generationPath, z.unknown(), options)
    : {};
  const config = parseHuggingFaceConfig(json, where, { generation });
  return { config, modulePrefix: modulePrefix(json, where) };
}

/** File of each weight, by the folder's index. A shard is a plain file name, so no path leads out of the folder. */
async function readIndex(folder: string): Promise<ReadonlyMap<string, string>> {
  const where = join(folder, INDEX);
  const { weight_map } = await readJson(where, indexSchema, options);
  for (const [name, shard] of Object.entries(weight_map))
    if (!/^[^/\\:]+\.safetensors$/.test(shard))
      throw new MosError(
        "bad_model",
        `${where}: ${name} is said to be in "${shard}"; a .safetensors file of this folder is expected`,
      );
  return new Map(Object.entries(weight_map));
}

/** The safetensors files of a folder taken as one. */
interface FolderWeights extends AsyncDisposable {
  /** The files, by name. */
  readonly paths: readonly string[];
  readonly shapes: ReadonlyMap<string, readonly number[]>;
  /** How the numbers of a weight are stored. */
  storedDtype(name: string): SafetensorsDtype | undefined;
  readFloat32(name: string, range?: NumberRange): Promise<Float32Array>;
  /** Fills `target` with bytes of a weight as its file has them, from its byte `begin` on. */
  readInto(name: string, target: Uint8Array, begin: number): Promise<void>;
  /** How the numbers of a weight are stored, if they are numbers that can be read. */
  readableDtype(name: string): StoredType;
}

/** The error for a folder without safetensors. */
async function explainMissing(folder: string): Promise<MosError> {
  const names = await listFolder(folder);
  const pickled = names.find((name) => /\.(bin|pth?|ckpt)$/.test(name));
  if (pickled !== undefined)
    return new MosError(
      "unsupported",
      `${folder}: ${pickled} is a Python pickle, which can run code and is never read; convert it to safetensors`,
    );
  return new MosError(
    "not_found",
    `${folder}: there is neither ${WHOLE} nor ${INDEX}; fetch the weights too`,
  );
}

async function openShard(folder: string, shard: string): Promise<SafetensorsFile> {
  const path = join(folder, shard);
  if (await pathExists(path)) return openSafetensors(path);
  throw new MosError("not_found", `${path}: the index names this shard, but it is missing; fetch it`);
}

/** Opens the files, or none: if one fails, those before it are closed again. */
async function openAll(
  folder: string,
  shards: Iterable<string>,
): Promise<ReadonlyMap<string, SafetensorsFile>> {
  const files = new Map<string, SafetensorsFile>();
  try {
    for (const shard of shards) files.set(shard, await openShard(folder, shard));
    return files;
  } catch (error) {
    await closeAll(files.values());
    throw error;
  }
}

async function closeAll(files: Iterable<SafetensorsFile>): Promise<void> {
  for (const file of files) await file[Symbol.asyncDispose]();
}

/** Which open file holds which weight. */
function findHomes(
  files: ReadonlyMap<string, SafetensorsFile>,
  { index, folder }: { readonly index: ReadonlyMap<string, string> | undefined; readonly folder: string },
): ReadonlyMap<string, SafetensorsFile> {
  const homes = new Map<string, SafetensorsFile>();
  if (!index)
    for (const file of files.values()) for (const name of file.tensors.keys()) homes.set(name, file);
  for (const [name, shard] of index ?? []) {
    const file = files.get(shard);
    if (!file?.tensors.has(name))
      throw new MosError(
        "bad_model",
        `${join(folder, INDEX)}: ${name} is not in ${shard}, as the index says`,
      );
    homes.set(name, file);
  }
  return homes;
}

/** A weight in a file. */
interface StoredWeight {
  readonly file: SafetensorsFile;
  /** Its name there. */
  readonly stored: string;
}

/** The weights of the language model, by their names in it; those for pictures are left out. */
const textWeights = (homes: ReadonlyMap<string, SafetensorsFile>): ReadonlyMap<string, StoredWeight> =>
  new Map(
    [...homes]
      .filter(([name]) => !isForPictures(name))
      .map(([stored, file]) => [textName(stored), { file, stored }]),
  );

/** Opens all weights of a folder: headers only. */
export async function openFolderWeights(folder: string): Promise<FolderWeights> {
  const whole = await pathExists(join(folder, WHOLE));
  if (!whole && !(await pathExists(join(folder, INDEX)))) throw await explainMissing(folder);
  const index = whole ? undefined : await readIndex(folder);
  const files = await openAll(folder, index ? new Set(index.values()) : [WHOLE]);
  try {
    const homes = textWeights(findHomes(files, { index, folder }));
    const findStored = (name: string): StoredWeight => {
      const home = homes.get(name);
      if (!home) throw new MosError("bad_model", `${folder}: the weight ${name} is missing`);
      return home;
    };
    const findTensor = ({ file, stored }: StoredWeight) => file.tensors.get(stored);
    return {
      paths: [...files.values()].map(({ path }) => path).sort(),
      shapes: new Map([...homes].map(([name, home]) => [name, findTensor(home)?.shape ?? []])),
      storedDtype: (name) => findTensor(findStored(name))?.dtype,
      readFloat32: async (name, range) => findStored(name).file.readFloat32(findStored(name).stored, range),
      readInto: async (name, target, begin) =>
        findStored(name).file.readInto(findStored(name).stored, target, begin),
      readableDtype: (name) => {
        const home = findStored(name);
        const { path } = home.file;
        const dtype = findTensor(home)?.dtype;
        if (dtype === "F32" || dtype === "F16" || dtype === "BF16") return dtype;
        throw new MosError(
          "unsupported",
          `${path}: tensor "${name}" has type ${dtype}; F32, F16 or BF16 can be read as numbers`,
        );
      },
      [Symbol.asyncDispose]: () => closeAll(files.values()),
    };
  } catch (error) {
    await closeAll(files.values());
    throw error;
  }
}
