// A resident adapter: all its numbers in one buffer, at offsets that its settings alone decide, so that its size is known
// before anything is read.
import { setImmediate } from "node:timers/promises";
import {
  type Adapter,
  type AdapterConfig,
  type AdapterGeometry,
  type AdapterTensor,
  methodOf,
  type TensorSpec,
} from "#adapters";
import { MosError, sizeOf } from "#core";
import { decodeBfloat16, encodeBfloat16 } from "#files";
import type { ResidentDtype } from "./types.ts";

/** Where a tensor lies. `offset` counts bytes, `length` numbers. */
export interface StoredTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly form: "float32" | "bfloat16" | "int32" | "uint16";
  readonly offset: number;
  readonly length: number;
}

/** The whole buffer. */
export interface BufferLayout {
  readonly stored: readonly StoredTensor[];
  readonly bytes: number;
}

/** A tensor that adapters of one kind share, because the seed gives it. */
export interface SharedTensor {
  readonly key: string;
  readonly spec: TensorSpec;
  readonly bytes: number;
}

const lengthOf = ({ shape }: TensorSpec): number => sizeOf(shape);

/** Trained numbers as the engine keeps them, frozen ones exactly, tables as narrow as their entries allow. */
function formOf({ dtype, role, below }: TensorSpec, trained: ResidentDtype): StoredTensor["form"] {
  if (dtype === "int32") return below !== undefined && below <= 0x1_0000 ? "uint16" : "int32";
  return role === "trainable" ? trained : "float32";
}

const widthOf = (form: StoredTensor["form"]): number => (form === "bfloat16" || form === "uint16" ? 2 : 4);

/** Where an adapter's own tensors lie. */
export function layoutOf(
  config: AdapterConfig,
  geometry: AdapterGeometry,
  dtype: ResidentDtype,
): BufferLayout {
  const own = methodOf(config)
    .tensors(geometry)
    .filter(({ role }) => role !== "seeded")
    .map((spec) => ({ spec, form: formOf(spec, dtype) }))
    .sort((a, b) => widthOf(b.form) - widthOf(a.form)); // so that all stand aligned
  let bytes = 0;
  const stored = own.map(({ spec, form }): StoredTensor => {
    const [offset, length] = [bytes, lengthOf(spec)];
    bytes += length * widthOf(form);
    return { name: spec.name, shape: spec.shape, form, offset, length };
  });
  return { stored, bytes };
}

/** The tensors that are kept once for all adapters of this method, seed and shape. */
export const sharedTensorsOf = (config: AdapterConfig, geometry: AdapterGeometry): readonly SharedTensor[] =>
  methodOf(config)
    .tensors(geometry)
    .filter(({ role }) => role === "seeded")
    .map((spec) => ({
      key: JSON.stringify([config.method, config.seed, spec.name, spec.shape]),
      spec,
      bytes: 4 * lengthOf(spec),
    }));

/** Bytes of memory: an adapter's own, and what it shares with those of its method, seed and shape. */
export interface ResidentBytes {
  readonly own: number;
  readonly shared: number;
}

/** What an adapter takes when it is resident, exactly, before there is one. */
export const residentBytes = (
  config: AdapterConfig,
  geometry: AdapterGeometry,
  dtype: ResidentDtype,
): ResidentBytes => ({
  own: layoutOf(config, geometry, dtype).bytes,
  shared: sharedTensorsOf(config, geometry).reduce((sum, { bytes }) => sum + bytes, 0),
});

/** An adapter in as few bytes as it computes with: its settings, and its own tensors in one buffer. */
export interface CompactAdapter {
  readonly config: AdapterConfig;
  readonly dtype: ResidentDtype;
  readonly buffer: ArrayBuffer;
}

/** bfloat16 reaches as far as float32 does, but for the last half step, which would become infinite. */
function rounded(data: AdapterTensor["data"], name: string): Uint16Array {
  const bits = encodeBfloat16(data instanceof Float32Array ? data : new Float32Array(data));
  const bad = bits.findIndex((x) => (x & 0x7f80) === 0x7f80);
  if (bad >= 0) throw new MosError("bad_adapter", `${name}: ${data[bad]} is too large for bfloat16`);
  return bits;
}

/** Writes a part of a tensor's numbers, which begins at the number `begin`. */
function write(
  { name, form, offset: start }: StoredTensor,
  { data, begin }: { readonly data: AdapterTensor["data"]; readonly begin: number },
  buffer: ArrayBuffer,
): void {
  const [offset, { length }] = [start + begin * widthOf(form), data];
  if (form === "uint16") new Uint16Array(buffer, offset, length).set(data);
  else if (form === "int32") new Int32Array(buffer, offset, length).set(data);
  else if (form === "float32") new Float32Array(buffer, offset, length).set(data);
  else new Uint16Array(buffer, offset, length).set(rounded(data, name));
}

function read({ shape, form, offset, length }: StoredTensor, buffer: ArrayBuffer): AdapterTensor {
  if (form === "uint16") return { shape, data: new Int32Array(new Uint16Array(buffer, offset, length)) };
  if (form === "int32") return { shape, data: new Int32Array(buffer, offset, length) };
  if (form === "float32") return { shape, data: new Float32Array(buffer, offset, length) };
  return { shape, data: decodeBfloat16(new Uint16Array(buffer, offset, length)) };
}

/** After this many numbers other work may run. */
const AT_ONCE = 1 << 18;

/** Packs an adapter. Throws `bad_adapter` for a number that bfloat16 cannot hold. */
export async function packAdapter(adapter: Adapter, dtype: ResidentDtype): Promise<CompactAdapter> {
  const { config, geometry, tensors } = adapter;
  const { stored, bytes } = layoutOf(config, geometry, dtype);
  const buffer = new ArrayBuffer(bytes);
  let since = 0;
  for (const place of stored) {
    const tensor = tensors.get(place.name);
    if (tensor === undefined) throw new MosError("bad_adapter", `the adapter has no tensor ${place.name}`);
    for (let begin = 0; begin < place.length; begin += AT_ONCE) {
      const data = tensor.data.subarray(begin, begin + AT_ONCE);
      write(place, { data, begin }, buffer);
      since += data.length;
      if (since < AT_ONCE) continue;
      since = 0;
      await setImmediate();
    }
  }
  return { config, dtype, buffer };
}

/** The adapter as the methods take it. float32 tensors and int32 tables are views of the buffer. */
export function unpackAdapter(
  { config, dtype, buffer }: CompactAdapter,
  geometry: AdapterGeometry,
  shared: ReadonlyMap<string, AdapterTensor>,
): Adapter {
  const tensors = new Map(shared);
  for (const place of layoutOf(config, geometry, dtype).stored) tensors.set(place.name, read(place, buffer));
  return { config, geometry, tensors };
}
