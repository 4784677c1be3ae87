// Where the numbers of a resident adapter lie: all in one buffer, in places that its settings alone decide. So the bytes
// are known before anything is read.
import { type AdapterConfig, type AdapterGeometry, methodOf, type TensorSpec } from "#adapters";
import type { ResidentDtype } from "./types.ts";

/** A tensor's place. `offset` counts bytes, `length` numbers. */
export interface Place {
  readonly name: string;
  readonly shape: readonly number[];
  readonly form: "float32" | "bfloat16" | "int32" | "uint16";
  readonly offset: number;
  readonly length: number;
}

/** The whole buffer. */
export interface Layout {
  readonly places: readonly Place[];
  readonly bytes: number;
}

/** A tensor that adapters of one kind share, because the seed gives it. */
export interface SharedTensor {
  readonly key: string;
  readonly spec: TensorSpec;
  readonly bytes: number;
}

const lengthOf = ({ shape }: TensorSpec): number => shape.reduce((a, b) => a * b, 1);

/** Trained numbers as the server keeps them, frozen ones exactly, tables as narrow as their entries allow. */
function formOf({ dtype, role, below }: TensorSpec, trained: ResidentDtype): Place["form"] {
  if (dtype === "int32") return below !== undefined && below <= 0x1_0000 ? "uint16" : "int32";
  return role === "trainable" ? trained : "float32";
}

const widthOf = (form: Place["form"]): number => (form === "bfloat16" || form === "uint16" ? 2 : 4);

/** The places of an adapter's own tensors. */
export function layoutOf(config: AdapterConfig, geometry: AdapterGeometry, dtype: ResidentDtype): Layout {
  const own = methodOf(config)
    .tensors(geometry)
    .filter(({ role }) => role !== "seeded")
    .map((spec) => ({ spec, form: formOf(spec, dtype) }))
    .sort((a, b) => widthOf(b.form) - widthOf(a.form)); // so that all stand aligned
  let bytes = 0;
  const places = own.map(({ spec, form }): Place => {
    const [offset, length] = [bytes, lengthOf(spec)];
    bytes += length * widthOf(form);
    return { name: spec.name, shape: spec.shape, form, offset, length };
  });
  return { places, bytes };
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
