import { setImmediate } from "node:timers/promises";
import type { Adapter, AdapterConfig, AdapterGeometry, AdapterTensor } from "#adapters";
import { MosError } from "#core";
import { decodeBfloat16, encodeBfloat16 } from "#formats";
import { layoutOf, type Place } from "./layout.ts";
import type { ResidentDtype } from "./types.ts";

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
  if (bad >= 0)
    throw new MosError("bad_adapter", `${name}: number ${bad} is ${data[bad]}, too large for bfloat16`);
  return bits;
}

function write({ name, form, offset, length }: Place, tensor: AdapterTensor, buffer: ArrayBuffer): void {
  const { data } = tensor;
  if (form === "uint16") new Uint16Array(buffer, offset, length).set(data);
  else if (form === "int32") new Int32Array(buffer, offset, length).set(data);
  else if (form === "float32") new Float32Array(buffer, offset, length).set(data);
  else new Uint16Array(buffer, offset, length).set(rounded(data, name));
}

function read({ shape, form, offset, length }: Place, buffer: ArrayBuffer): AdapterTensor {
  if (form === "uint16") return { shape, data: new Int32Array(new Uint16Array(buffer, offset, length)) };
  if (form === "int32") return { shape, data: new Int32Array(buffer, offset, length) };
  if (form === "float32") return { shape, data: new Float32Array(buffer, offset, length) };
  return { shape, data: decodeBfloat16(new Uint16Array(buffer, offset, length)) };
}

/** After so many numbers other work has its turn. */
const AT_ONCE = 1 << 18;

/** Packs an adapter. Throws `bad_adapter` for a number that bfloat16 cannot hold. */
export async function packAdapter(adapter: Adapter, dtype: ResidentDtype): Promise<CompactAdapter> {
  const { config, geometry, tensors } = adapter;
  const { places, bytes } = layoutOf(config, geometry, dtype);
  const buffer = new ArrayBuffer(bytes);
  let since = 0;
  for (const place of places) {
    const tensor = tensors.get(place.name);
    if (tensor === undefined) throw new MosError("bad_adapter", `the adapter has no tensor ${place.name}`);
    write(place, tensor, buffer);
    since += place.length;
    if (since < AT_ONCE) continue;
    since = 0;
    await setImmediate();
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
  for (const place of layoutOf(config, geometry, dtype).places) tensors.set(place.name, read(place, buffer));
  return { config, geometry, tensors };
}
