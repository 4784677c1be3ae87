// A resident adapter: all its tensors in one buffer, at offsets that its settings alone decide, so that its size is known
// before anything is read.
import {
  type Adapter,
  type AdapterConfig,
  type AdapterTensor,
  bindMethod,
  type LayerShapes,
  type TensorSpec,
} from "#adapters";
import { countElements, MosError } from "#common";
import { decodeBfloat16, encodeBfloat16 } from "#files";
import { nextTurn } from "#platform";

/** Type of trained parameters in memory. */
export type ResidentDtype = "float32" | "bfloat16";

const ARRAYS = {
  float32: Float32Array,
  bfloat16: Uint16Array,
  int32: Int32Array,
  uint16: Uint16Array,
};

/** Location of a tensor. `offset` counts bytes, `length` elements. */
interface StoredTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly format: keyof typeof ARRAYS;
  readonly offset: number;
  readonly length: number;
}

/** A tensor that adapters of one kind share, because the seed gives it. */
export type SharedTensor = ReturnType<typeof listSharedTensors>[number];

/** Trainable parameters in the engine's data type, frozen ones exactly, tables as narrow as their entries allow. */
function storageFormat({ dtype, role, below }: TensorSpec, trained: ResidentDtype): StoredTensor["format"] {
  if (dtype === "int32") return below !== undefined && below <= 0x1_0000 ? "uint16" : "int32";
  return role === "trainable" ? trained : "float32";
}

const bytesPerElement = (format: StoredTensor["format"]): number => ARRAYS[format].BYTES_PER_ELEMENT;

/** Layout of an adapter's own tensors. */
export function bufferLayout(config: AdapterConfig, shapes: LayerShapes, dtype: ResidentDtype) {
  const own = bindMethod(config)
    .tensors(shapes)
    .filter(({ role }) => role !== "seeded")
    .map((spec) => ({ spec, format: storageFormat(spec, dtype) }))
    .sort((a, b) => bytesPerElement(b.format) - bytesPerElement(a.format)); // so that all stand aligned
  let bytes = 0;
  const stored = own.map(({ spec, format }): StoredTensor => {
    const [offset, length] = [bytes, countElements(spec.shape)];
    bytes += length * bytesPerElement(format);
    return { name: spec.name, shape: spec.shape, format, offset, length };
  });
  return { stored, bytes };
}

/** The tensors that are kept once for all adapters of this method, shape and seed; those of the base, of any seed. */
export const listSharedTensors = (config: AdapterConfig, shapes: LayerShapes) =>
  bindMethod(config)
    .tensors(shapes)
    .filter(({ role }) => role === "seeded")
    .map((spec) => ({
      key: JSON.stringify([
        config.method,
        spec.prepare === undefined ? config.seed : "base",
        spec.name,
        spec.shape,
        spec.below,
      ]),
      spec,
      bytes: 4 * countElements(spec.shape),
    }));

/** What adapters have in common whose factors are the base's own, but for a core; undefined for others. */
export function baseFactorsKey(config: AdapterConfig, shapes: LayerShapes): string | undefined {
  const usesBase = bindMethod(config)
    .tensors(shapes)
    .some(({ prepare }) => prepare !== undefined);
  return usesBase ? JSON.stringify([config.method, config.rank, config.targets]) : undefined;
}

/** Exact bytes of a resident adapter, before it is loaded: its own, and what it shares with those of its method, seed and shape. */
export const residentBytes = (config: AdapterConfig, shapes: LayerShapes, dtype: ResidentDtype) => ({
  own: bufferLayout(config, shapes, dtype).bytes,
  shared: listSharedTensors(config, shapes).reduce((sum, { bytes }) => sum + bytes, 0),
});

/** An adapter in as few bytes as it computes with: its settings, and its own tensors in one buffer. */
export type CompactAdapter = Awaited<ReturnType<typeof packAdapter>>;

/** bfloat16 reaches as far as float32 does, but for the last half step, which would become infinite. */
function rounded(data: AdapterTensor["data"], name: string): Uint16Array {
  const bits = encodeBfloat16(data instanceof Float32Array ? data : new Float32Array(data));
  const bad = bits.findIndex((x) => (x & 0x7f80) === 0x7f80);
  if (bad >= 0) throw new MosError("bad_adapter", `${name}: ${data[bad]} is too large for bfloat16`);
  return bits;
}

/** Writes the part of a tensor that begins at the element `begin`. */
function write(
  { name, format, offset }: StoredTensor,
  { data, begin }: { readonly data: AdapterTensor["data"]; readonly begin: number },
  buffer: ArrayBuffer,
): void {
  const target = new ARRAYS[format](buffer, offset + begin * bytesPerElement(format), data.length);
  target.set(format === "bfloat16" ? rounded(data, name) : data);
}

function read({ shape, format, offset, length }: StoredTensor, buffer: ArrayBuffer): AdapterTensor {
  const stored = new ARRAYS[format](buffer, offset, length);
  if (!(stored instanceof Uint16Array)) return { shape, data: stored };
  return { shape, data: format === "uint16" ? new Int32Array(stored) : decodeBfloat16(stored) };
}

/** After this many elements other work may run. */
const CHUNK_SIZE = 1 << 18;

/** Packs an adapter. Throws `bad_adapter` for a number that bfloat16 cannot hold. */
export async function packAdapter(adapter: Adapter, dtype: ResidentDtype) {
  const { config, shapes, tensors } = adapter;
  const { stored, bytes } = bufferLayout(config, shapes, dtype);
  const buffer = new ArrayBuffer(bytes);
  let since = 0;
  for (const place of stored) {
    const tensor = tensors.get(place.name);
    if (tensor === undefined) throw new MosError("bad_adapter", `the adapter has no tensor ${place.name}`);
    for (let begin = 0; begin < place.length; begin += CHUNK_SIZE) {
      const data = tensor.data.subarray(begin, begin + CHUNK_SIZE);
      write(place, { data, begin }, buffer);
      since += data.length;
      if (since < CHUNK_SIZE) continue;
      since = 0;
      await nextTurn();
    }
  }
  return { config, dtype, buffer };
}

/** The adapter as the methods take it. float32 tensors and int32 tables are views of the buffer. */
export function unpackAdapter(
  { config, dtype, buffer }: CompactAdapter,
  shapes: LayerShapes,
  shared: ReadonlyMap<string, AdapterTensor>,
): Adapter {
  const tensors = new Map(shared);
  for (const place of bufferLayout(config, shapes, dtype).stored)
    tensors.set(place.name, read(place, buffer));
  return { config, shapes, tensors };
}
