// Storage of a base's tensors that become constants of programs: a temporary file that is filled while weights are
// read, or in a cache (weight-cache.ts), where they may be already.
import {
  type BlockMatrix,
  constant,
  type DType,
  fileConstant,
  type Nf4Matrix,
  type PackedMatrix,
  type TensorData,
  unwritten,
  type Value,
  writeAll,
} from "mixture-of-shards-graph";
import type { Shape } from "#common";
import { makeTemporaryFolder } from "#files";
import { join, open, rm } from "#platform";
import type { MatrixArrays } from "./pack-matrix.ts";

/** A tensor by name; its data are asked for where they are not there yet. */
export interface StoredTensor {
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly data: () => TensorData;
}

/** Rows and columns of a matrix before it is packed. */
export type MatrixShape = Pick<PackedMatrix, "out" | "in">;

/** Tensors and packed matrices by name, as constants. Throws `storage` where the disk does not take them. */
export interface PackedStore extends AsyncDisposable {
  /** A norm or a bias. */
  vector(name: string, tensor: StoredTensor): Promise<Value>;
  tensor(name: string, tensor: StoredTensor): Promise<Value>;
  matrix(name: string, shape: MatrixShape, pack: () => MatrixArrays): Promise<PackedMatrix>;
}

const FILE = "weights.bin";

/** Alignment of constants: whole pages can be mapped. */
const ALIGNMENT = 4096;

/**
 * Constants in a temporary file, so that none stays in this process: the runtime maps the file when it opens a program, copies what
 * it packs for its kernels, and reads the rest where it lies. Programs that are open when it is disposed keep what they mapped.
 *
 * @throws MosError `storage`, as `add` where the disk does not take a tensor.
 */
export async function openConstantsFile() {
  const folder = await makeTemporaryFolder("mos-");
  const remove = (): Promise<void> => rm(folder, { recursive: true, force: true });
  const file = await open(join(folder, FILE), "w").catch(async (cause: unknown) => {
    await remove();
    throw unwritten(folder, cause);
  });
  let end = 0;
  return {
    /** The bytes so far. */
    get bytes(): number {
      return end;
    },
    /** Appends a tensor, whose array is not needed afterwards. */
    async add(data: TensorData, shape: Shape, dtype: DType): Promise<Value> {
      const offset = Math.ceil(end / ALIGNMENT) * ALIGNMENT;
      const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      const value = fileConstant({ folder, file: FILE, offset, length: bytes.byteLength }, shape, dtype);
      await writeAll(file, bytes, offset).catch((cause: unknown) => {
        throw unwritten(folder, cause);
      });
      end = offset + bytes.byteLength;
      return value;
    },
    async [Symbol.asyncDispose](): Promise<void> {
      await file.close();
      await remove();
    },
  };
}

/** A store in a temporary file, which is made when it is needed and removed on disposal. */
export function temporaryStore(): PackedStore {
  let file: Awaited<ReturnType<typeof openConstantsFile>> | undefined;
  const add: AddPart = async (_, { data, shape, dtype }) => {
    file ??= await openConstantsFile();
    return file.add(data, shape, dtype);
  };
  return {
    vector: async (_, { data, shape }) => constant(data(), shape),
    tensor: (name, { data, ...type }) => add(name, { ...type, data: data() }),
    matrix: (_, _shape, pack) => writeMatrix(pack(), add),
    async [Symbol.asyncDispose]() {
      await file?.[Symbol.asyncDispose]();
      file = undefined;
    },
  };
}

/** Takes a tensor, whose array is not needed afterwards, and gives the constant that it became. */
export type AddPart = (
  part: string,
  tensor: { readonly data: TensorData; readonly shape: readonly number[]; readonly dtype: DType },
) => Promise<Value>;

export type PartShapes = Readonly<
  Record<"codes" | "scales", readonly number[]> & Partial<Record<"zeroPoints" | "offsets", readonly number[]>>
>;

/** The shapes of the tensors of a matrix. */
export function partShapes(
  facts:
    | Omit<BlockMatrix, "codes" | "scales" | "zeroPoints" | "offsets">
    | Omit<Nf4Matrix, "codes" | "scales">,
): PartShapes {
  const { blockSize, out, in: width } = facts;
  if (facts.kind === "nf4") return { codes: [(out * width) / 2], scales: [(out * width) / blockSize] };
  const own = width / blockSize;
  const blocks = { x: own, "x twice": 2 * own, "x and means": own + Math.ceil(own / blockSize) }[
    facts.columns
  ];
  return {
    codes: [out, blocks, (blockSize * facts.bits) / 8],
    scales: [out, blocks],
    zeroPoints: [out, Math.ceil(blocks / 2)],
    offsets: [out, own],
  };
}

/** Writes the arrays of a packed matrix, which gets constants in their place. */
export async function writeMatrix(arrays: MatrixArrays, add: AddPart): Promise<PackedMatrix> {
  const shapes = partShapes(arrays);
  const put = (part: keyof PartShapes, data: TensorData, dtype: DType): Promise<Value> =>
    add(part, { data, shape: shapes[part] ?? [], dtype });
  const codes = await put("codes", arrays.codes, "uint8");
  const scales = await put("scales", arrays.scales, "float32");
  if (arrays.kind === "nf4") return { ...arrays, codes, scales };
  const { zeroPoints, offsets } = arrays;
  return {
    ...arrays,
    codes,
    scales,
    zeroPoints: zeroPoints && (await put("zeroPoints", zeroPoints, "uint8")),
    offsets: offsets && (await put("offsets", offsets, "float32")),
  };
}
