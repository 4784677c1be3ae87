// A Hugging Face folder: config.json, and model.safetensors whole or in shards.

import { z } from "zod";
import { MosError } from "#common";
import {
  closeOnFailure,
  listFolder,
  openSafetensors,
  pathExists,
  readJson,
  type SafetensorsFile,
  type StoredType,
} from "#files";
import { join } from "#platform";
import { parseHuggingFaceConfig } from "./config-json.ts";
import { isForPictures, isHeadless, modulePrefix, textName } from "./nested.ts";

const WHOLE = "model.safetensors";
const INDEX = "model.safetensors.index.json";

const indexSchema = z.looseObject({ weight_map: z.record(z.string(), z.string()) });
const options = { code: "bad_model" } as const;

/**
 * Reads config.json and, where there is one, generation_config.json. `modulePrefix` is that of the language model's module names in
 * transformers.
 */
export async function readFolderConfig(folder: string) {
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
        `${where}: the index says that ${name} is in "${shard}"; expected a .safetensors file of this folder`,
      );
  return new Map(Object.entries(weight_map));
}

/** The safetensors files of a folder taken as one. */
interface FolderWeights extends AsyncDisposable {
  /** The files, by name. */
  readonly paths: readonly string[];
  /** An embedding model: it has no head, whatever its config.json says. */
  readonly isHeadless: boolean;
  readonly shapes: ReadonlyMap<string, readonly number[]>;
  /** Fills `target` with bytes of a weight as its file has them, from its byte `begin` on. */
  readInto(name: string, target: Uint8Array, begin: number): Promise<void>;
  /** The file of a weight, and where it begins there. */
  place(name: string): { readonly path: string; readonly begin: number };
  /** Element type of a weight. Throws `unsupported` for one that cannot be read. */
  dtype(name: string): StoredType;
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
    `${folder}: found neither ${WHOLE} nor ${INDEX}; download the weights too`,
  );
}

async function openShard(folder: string, shard: string): Promise<SafetensorsFile> {
  const path = join(folder, shard);
  if (await pathExists(path)) return openSafetensors(path);
  throw new MosError("not_found", `${path}: the index names this shard, but it is missing; download it`);
}

/** A weight in an open file. */
interface StoredWeight {
  readonly file: SafetensorsFile;
  /** Its name there. */
  readonly stored: string;
}

/** The file of each weight: by the index or, of a file without one, all that are in it. */
function findHomes(
  files: ReadonlyMap<string, SafetensorsFile>,
  { index, folder }: { readonly index: ReadonlyMap<string, string> | undefined; readonly folder: string },
): readonly StoredWeight[] {
  if (!index)
    return [...files.values()].flatMap((file) =>
      [...file.tensors.keys()].map((stored) => ({ file, stored })),
    );
  return [...index].map(([stored, shard]) => {
    const file = files.get(shard);
    if (file?.tensors.has(stored)) return { file, stored };
    throw new MosError(
      "bad_model",
      `${join(folder, INDEX)}: the index says that ${stored} is in ${shard}, but it is not`,
    );
  });
}

/** Opens all weights of a folder: headers only. */
export async function openFolderWeights(folder: string): Promise<FolderWeights> {
  const whole = await pathExists(join(folder, WHOLE));
  if (!whole && !(await pathExists(join(folder, INDEX)))) throw await explainMissing(folder);
  const index = whole ? undefined : await readIndex(folder);
  const files = new Map<string, SafetensorsFile>();
  const close = {
    async [Symbol.asyncDispose]() {
      for (const file of files.values()) await file[Symbol.asyncDispose]();
    },
  };
  return closeOnFailure(close, async () => {
    for (const shard of new Set(index?.values() ?? [WHOLE])) files.set(shard, await openShard(folder, shard));
    // weights for pictures are left out, the others have their names in the language model
    const homes = new Map(
      findHomes(files, { index, folder }).flatMap((home) =>
        isForPictures(home.stored) ? [] : [[textName(home.stored), home] as const],
      ),
    );
    const find = (name: string): StoredWeight => {
      const home = homes.get(name);
      if (!home) throw new MosError("bad_model", `${folder}: the weight ${name} is missing`);
      return home;
    };
    const findTensor = ({ file, stored }: StoredWeight) => file.tensors.get(stored);
    return {
      ...close,
      paths: [...files.values()].map(({ path }) => path).sort(),
      isHeadless:
        !homes.has("lm_head.weight") && [...homes.values()].some(({ stored }) => isHeadless(stored)),
      shapes: new Map([...homes].map(([name, home]) => [name, findTensor(home)?.shape ?? []])),
      async readInto(name, target, begin) {
        const { file, stored } = find(name);
        await file.readInto(stored, target, begin);
      },
      place(name) {
        const home = find(name);
        return { path: home.file.path, begin: findTensor(home)?.begin ?? 0 };
      },
      dtype(name) {
        const home = find(name);
        const dtype = findTensor(home)?.dtype;
        if (dtype === "F32" || dtype === "F16" || dtype === "BF16") return dtype;
        throw new MosError(
          "unsupported",
          `${home.file.path}: tensor "${name}" has type ${dtype}; expected F32, F16 or BF16`,
        );
      },
    };
  });
}
