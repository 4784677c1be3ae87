// Plan of a merged model: its tensors, their types, and the file of each.
import { MosError } from "#common";
import type { PlannedTensor } from "#files";
import { type ModelFiles, storedShapes, weightShapes } from "#models";
import { bytesPerNumber, FILE_DTYPES, type FileDtype, STORED, type StoredDtype } from "./file-dtype.ts";

export interface MergeShard {
  readonly file: string;
  readonly tensors: readonly (PlannedTensor & { readonly dtype: StoredDtype })[];
  /** Bytes of the data, without the header. */
  readonly bytes: number;
}

/** Everything about the files of a merged model except their data. */
export interface MergePlan {
  readonly shards: readonly MergeShard[];
  readonly bytes: number;
  readonly tensors: number;
  /** Type of most weights, as config.json states it. */
  readonly dtype: FileDtype;
  /** Block types of the base, such as Q4_1, which cannot hold the sums: their weights become `dtype`. */
  readonly replaced: readonly string[];
}

interface MergePlanOptions {
  /**
   * One type for all tensors; without it each keeps the type that it has in a folder, and those of a GGUF file become
   * bfloat16 where its matrices are, else float16.
   */
  readonly dtype?: FileDtype | undefined;
  /** Bytes that a file may have, but for a tensor that is larger on its own; 5 GB, as Hugging Face's libraries. */
  readonly shardSize?: number | undefined;
}

export const DEFAULT_SHARD_SIZE = 5e9;

type Planned = MergeShard["tensors"][number];

const countBytes = ({ shape, dtype }: Planned): number =>
  shape.reduce((product, size) => product * size, bytesPerNumber(dtype));

const total = (tensors: readonly Planned[]): number =>
  tensors.reduce((sum, tensor) => sum + countBytes(tensor), 0);

/** Members of an open model that a plan needs. */
type StoredModel = Pick<ModelFiles, "config" | "source" | "storedRows">;

/** The types of a GGUF file's matrices. */
const matrixTypes = ({ config, storedRows }: StoredModel): ReadonlySet<string> =>
  new Set(
    [...weightShapes(config)].flatMap(([name, shape]) => (shape.length > 1 ? [storedRows(name).type] : [])),
  );

/** One type for all tensors of a GGUF file. */
const ggufDtype = (types: ReadonlySet<string>): StoredDtype =>
  types.size === 1 && types.has("BF16") ? "BF16" : "F16";

/** In the order of the forward pass, as many in a file as fit. */
function fillShards(tensors: readonly Planned[], shardSize: number): readonly (readonly Planned[])[] {
  const shards: Planned[][] = [];
  let room = 0;
  for (const tensor of tensors) {
    const bytes = countBytes(tensor);
    if (shards.length === 0 || bytes > room) {
      shards.push([]);
      room = shardSize;
    }
    shards.at(-1)?.push(tensor);
    room -= bytes;
  }
  return shards;
}

/** "00003", as in the names of shards. */
const fiveDigits = (value: number): string => String(value).padStart(5, "0");

function mostUsed(tensors: readonly Planned[]): FileDtype {
  const countNumbers = (dtype: FileDtype): number =>
    total(tensors.filter((tensor) => tensor.dtype === STORED[dtype])) / bytesPerNumber(STORED[dtype]);
  return FILE_DTYPES.reduce((most, dtype) => (countNumbers(dtype) > countNumbers(most) ? dtype : most));
}

/**
 * Plans the files of a merged model, with Hugging Face's names: model.safetensors, or model-00001-of-0000N.safetensors
 * where it is larger than one file may be.
 *
 * @throws MosError "unsupported" for a base whose weights are stored in another way, "bad_option" for a shard size
 * that is not a size.
 */
export function planMerge(
  model: StoredModel,
  { dtype, shardSize = DEFAULT_SHARD_SIZE }: MergePlanOptions = {},
): MergePlan {
  if (!(shardSize >= 1))
    throw new MosError("bad_option", `shardSize: ${shardSize} is too small; give at least 1 byte`);
  const types = model.source.kind === "gguf" ? matrixTypes(model) : undefined;
  const chooseDtype = (name: string): StoredDtype => {
    if (dtype !== undefined) return STORED[dtype];
    // a folder's weights have one of these types, or cannot be read
    return types === undefined ? (model.storedRows(name).type as StoredDtype) : ggufDtype(types);
  };
  const tensors = [...storedShapes(model.config)].map(([name, shape]) => ({
    name,
    shape,
    dtype: chooseDtype(name),
  }));
  const parts = fillShards(tensors, shardSize);
  const shards = parts.map((part, i) => ({
    file:
      parts.length === 1
        ? "model.safetensors"
        : `model-${fiveDigits(i + 1)}-of-${fiveDigits(parts.length)}.safetensors`,
    // four-byte tensors first, so that all stand aligned
    tensors: [...part.filter((tensor) => tensor.dtype === "F32"), ...part.filter((t) => t.dtype !== "F32")],
    bytes: total(part),
  }));
  const replaced = [...(types ?? [])].filter((type) => !Object.values<string>(STORED).includes(type)).sort();
  return { shards, bytes: total(tensors), tensors: tensors.length, dtype: mostUsed(tensors), replaced };
}
