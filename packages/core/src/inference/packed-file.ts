// A file of packed weights: safetensors, whose tensors are the constants of the programs, each at the begin of a page, so that
// the runtime maps them where they lie.

import { type DType, fileConstant, type PackedMatrix, type Value } from "mixture-of-shards-graph";
import { z } from "zod";
import { MosError, omitUndefined, parseJson, parseWith } from "#common";
import {
  type AtomicFile,
  openForReading,
  openSafetensors,
  type PlacedTensor,
  type SafetensorsDtype,
  type SafetensorsFile,
  safetensorsHeader,
  storageError,
} from "#files";
import type { ModelHashes } from "#models";
import { basename, createHash, dirname, join, readdir, rm, rmdir } from "#platform";
import type { MatrixArrays } from "./pack-matrix.ts";
import {
  type AddPart,
  type MatrixShape,
  type PackedStore,
  type PartShapes,
  partShapes,
  type StoredTensor,
  writeMatrix,
} from "./packed-store.ts";

/** Raise it when packing gives other bytes, or the file another shape: `packages/core/test/inference/weight-cache.test.ts` says when. */
export const PACKED_FORMAT = 1;
/** Alignment of tensors: whole pages can be mapped. */
const PAGE = 4096;
/** Pages that are compared to see whether a file holds what was written. */
const CHECKED_PAGES = 256;
/** Bytes of the header for each tensor: its name, type, shape and offset, and the padding after it. */
const HEADER_SHARE = 512;

const DTYPES: Readonly<Partial<Record<DType, SafetensorsDtype>>> = {
  uint8: "U8",
  int8: "I8",
  uint16: "U16",
  float16: "F16",
  float32: "F32",
};

const matrixShape = {
  blockSize: z.int().positive(),
  out: z.int().positive(),
  in: z.int().positive(),
};
const matrixSchema = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("blocks"),
    bits: z.literal([4, 8]),
    columns: z.literal(["x", "x twice", "x and means"]),
    ...matrixShape,
  }),
  z.object({ kind: z.literal("nf4"), ...matrixShape }),
]);
type MatrixFacts = z.output<typeof matrixSchema>;
const factsSchema = z.strictObject({
  fingerprint: z.string(),
  identity: z.string().optional(),
  matrices: z.record(z.string(), matrixSchema),
});

/** Removes a folder that nothing is in. */
export const removeEmpty = (folder: string): Promise<void> => rmdir(folder).catch(() => undefined);

export const sha256 = (content: string | Uint8Array): string =>
  createHash("sha256").update(content).digest("hex");

/** A hash of pages that are evenly spread over the bytes from `begin` to `end`. */
async function pagesDigest(
  read: (target: Uint8Array, position: number) => Promise<unknown>,
  begin: number,
  end: number,
): Promise<string> {
  const hash = createHash("sha256");
  const step = Math.max(PAGE, Math.ceil((end - begin) / CHECKED_PAGES / PAGE) * PAGE);
  for (let at = begin; at < end; at += step) {
    const page = new Uint8Array(Math.min(PAGE, end - at));
    await read(page, at);
    hash.update(page);
  }
  return hash.digest("hex");
}

/** Stands in a header for its own hash, while that is made. */
const NO_SEAL = "-".repeat(64);

/** A header with another text in the place of its seal. */
function withSeal(header: Uint8Array, seal: string, other: string): Uint8Array {
  const changed = header.slice();
  const at = new TextDecoder("latin1").decode(header).indexOf(`"mos_header":"${seal}"`); // a character a byte
  if (at >= 0) changed.set(new TextEncoder().encode(`"mos_header":"${other}"`), at);
  return changed;
}

/**
 * Cached weights, and the hashes of the model that they come from.
 *
 * @throws MosError `storage` for a file that is damaged, or of other weights.
 */
export async function openPackedFile(path: string, key: string) {
  await using file = await openSafetensors(path, { code: "storage" });
  const { metadata, tensors } = file;
  if (metadata["mos_key"] !== key)
    throw new MosError("storage", `${path}: made for another model or by another version`);
  const [begin, end] = [...tensors.values()].reduce(
    ([least, most], place) => [Math.min(least, place.begin), Math.max(most, place.end)],
    [Infinity, 0],
  );
  await using bytes = await openForReading(path, "storage");
  const header = new Uint8Array(Math.min(begin, bytes.size));
  await bytes.read(header, 0);
  const { mos_header: seal = "", mos_pages: pages } = metadata;
  if (
    sha256(withSeal(header, seal, NO_SEAL)) !== seal ||
    (await pagesDigest(bytes.read, begin, end)) !== pages
  )
    throw new MosError("storage", `${path}: checksum mismatch`);
  const place = { code: "storage", where: `${path}: mos_facts` } as const;
  const facts = parseWith(factsSchema, parseJson(metadata["mos_facts"] ?? "", place), place);
  const { fingerprint, identity, matrices } = facts;
  const hashes: ModelHashes = { fingerprint, identity };
  return { hashes, store: cachedStore(file, new Map(Object.entries(matrices))) };
}

/** A store of tensors as they lie in the file; it reads no data itself. */
function cachedStore(
  { path, tensors }: SafetensorsFile,
  matrices: ReadonlyMap<string, MatrixFacts>,
): PackedStore {
  const place = { folder: dirname(path), file: basename(path) };
  const missingError = (name: string): MosError =>
    new MosError("storage", `${path}: ${name} is missing; remove this file`);
  const at = (name: string, dtype: DType): Value | undefined => {
    const found = tensors.get(name);
    if (found === undefined || found.dtype !== DTYPES[dtype]) return undefined;
    const { begin, end, shape } = found;
    return fileConstant({ ...place, offset: begin, length: end - begin }, shape, dtype);
  };
  const tensor = async (name: string, { shape, dtype }: StoredTensor): Promise<Value> => {
    const value = at(name, dtype);
    if (value?.shape.join() !== shape.join()) throw missingError(name);
    return value;
  };
  return {
    tensor,
    vector: tensor,
    async matrix(name, { out, in: width }): Promise<PackedMatrix> {
      const facts = matrices.get(name);
      if (facts?.out !== out || facts.in !== width) throw missingError(name);
      const shapes = partShapes(facts);
      const part = <P extends keyof PartShapes>(key: P, dtype: DType): Value | undefined => {
        const value = at(`${name}.${key}`, dtype);
        if (value !== undefined && value.shape.join() !== shapes[key]?.join())
          throw missingError(`${name}.${key}`);
        return value;
      };
      const codes = part("codes", "uint8");
      const scales = part("scales", "float32");
      if (codes === undefined || scales === undefined) throw missingError(name);
      if (facts.kind === "nf4") return { ...facts, codes, scales };
      const [zeroPoints, offsets] = [part("zeroPoints", "uint8"), part("offsets", "float32")];
      if (zeroPoints === undefined && facts.columns !== "x") throw missingError(`${name}.zeroPoints`);
      return { ...facts, codes, scales, zeroPoints, offsets };
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
}

/**
 * Writes the cache: tensors after a gap for the header, which is written last. Disposed before `commit`, it leaves nothing.
 *
 * @param options `prefix`: how the names of files begin that this one replaces; `tensors`: how many there are at most.
 */
export function createPackedFile(
  file: AtomicFile,
  {
    path,
    prefix,
    key,
    tensors: most,
  }: { readonly path: string; readonly prefix: string; readonly key: string; readonly tensors: number },
) {
  const begin = Math.ceil(((most + 16) * HEADER_SHARE) / PAGE) * PAGE;
  const written: PlacedTensor[] = [];
  const matrices: Record<string, MatrixFacts> = {};
  let end = begin;
  let failure: MosError | undefined;
  const add: AddPart = async (name, { data, shape, dtype }) => {
    const offset = Math.ceil(end / PAGE) * PAGE;
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const type = DTYPES[dtype];
    if (type === undefined) throw new MosError("bad_config", `${name}: ${dtype} is not cached`);
    // a safetensors file has no gaps
    const gap = offset - end;
    if (gap > 0) written.push({ name: `padding.${written.length}`, dtype: "U8", shape: [gap], bytes: gap });
    written.push({ name, dtype: type, shape, bytes: bytes.byteLength });
    await file.writeAt(bytes, offset).catch((cause: unknown) => {
      failure = storageError(cause, path);
      throw failure;
    });
    end = offset + bytes.byteLength;
    return fileConstant(
      { folder: dirname(path), file: basename(path), offset, length: bytes.byteLength },
      shape,
      dtype,
    );
  };
  const tensor = (name: string, { data, ...type }: StoredTensor): Promise<Value> =>
    add(name, { ...type, data: data() });
  return {
    folder: dirname(path),
    get bytes(): number {
      return end;
    },
    get failure(): MosError | undefined {
      return failure;
    },
    tensor,
    vector: tensor,
    async matrix(name: string, _: MatrixShape, pack: () => MatrixArrays): Promise<PackedMatrix> {
      const matrix = await writeMatrix(pack(), (part, given) => add(`${name}.${part}`, given));
      matrices[name] = matrixSchema.parse(matrix);
      return matrix;
    },
    /** Gives the file its name, once all tensors are there. */
    async commit({ fingerprint, identity }: ModelHashes): Promise<void> {
      const facts = { fingerprint, ...omitUndefined({ identity }), matrices };
      try {
        const header = safetensorsHeader(written, {
          metadata: {
            mos_key: key,
            mos_header: NO_SEAL,
            mos_pages: await pagesDigest(file.read, begin, end),
            mos_facts: JSON.stringify(facts),
          },
          length: begin,
        });
        if (header.length > begin)
          throw new MosError("storage", `${path}: the header does not match the model`);
        await file.writeAt(withSeal(header, NO_SEAL, sha256(header)), 0);
        await file.commit();
        await removeOthers(path, prefix);
      } catch (cause) {
        failure = storageError(cause, path);
        throw failure;
      }
    },
    async [Symbol.asyncDispose](): Promise<void> {
      await file[Symbol.asyncDispose]();
      await removeEmpty(dirname(path));
    },
  };
}

/** Removes files of the same format from other weights or other versions of this program. */
async function removeOthers(path: string, prefix: string): Promise<void> {
  const folder = dirname(path);
  for (const name of await readdir(folder).catch(() => []))
    if (name.startsWith(prefix) && name.endsWith(".safetensors") && name !== basename(path))
      await rm(join(folder, name), { force: true }).catch(() => undefined);
}
