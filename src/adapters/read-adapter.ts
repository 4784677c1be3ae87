// What a saved adapter must be to be used: settings that are understood and fit the base, and tensors of their shapes.
import { MosError } from "#core";
import type { SafetensorsFile } from "#formats";
import { baseOf, checkBase } from "./base-of.ts";
import { drawTensor } from "./create.ts";
import { readFields, type SavedFields } from "./folder-config.ts";
import type { AdapterGeometry, AdapterTensor, AdapterTensors, TensorSpec } from "./method.ts";
import { type AdapterConfig, methodOf } from "./methods.ts";

/** What an adapter is checked against. */
export interface LoadAdapterOptions {
  readonly geometry: AdapterGeometry;
  /** Of the base that the adapter is to be used with; undefined where only the adapter itself matters. */
  readonly fingerprint: string | undefined;
}

/** The content of an adapter_config.json, and what messages call it and its folder. */
export interface SavedSettings {
  readonly folder: string;
  readonly where: string;
  readonly fields: SavedFields;
}

/** The settings, which fit the base. Throws `bad_adapter`, `unsupported`. */
export function readSettings(
  { folder, where, fields }: SavedSettings,
  { geometry, fingerprint }: LoadAdapterOptions,
): AdapterConfig {
  const config = readFields(fields, where);
  if (fingerprint !== undefined) checkBase(folder, baseOf(fields), fingerprint);
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
  return config;
}

/** Reads one tensor. Shapes were checked against the file's header before. */
async function readTensor(
  file: SafetensorsFile,
  {
    spec,
    name,
    before,
  }: { readonly spec: TensorSpec; readonly name: string; readonly before: AdapterTensors },
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
  const bad = data.findIndex((x) => !Number.isFinite(x));
  if (bad >= 0) throw wrong(`number ${bad} is ${data[bad]}`);
  return { shape: spec.shape, data };
}

function checkNames(file: SafetensorsFile, expected: ReadonlyMap<string, TensorSpec>): void {
  const wrong = (what: string): MosError => new MosError("bad_adapter", `${file.path}: ${what}`);
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

/** The file has the tensors of these settings and no others, in their shapes. Throws `bad_adapter`. */
export function checkTensors(
  file: SafetensorsFile,
  config: AdapterConfig,
  { geometry }: { readonly geometry: AdapterGeometry },
): void {
  const method = methodOf(config);
  const saved = method.tensors(geometry).filter(({ role }) => role !== "seeded");
  checkNames(file, new Map(saved.map((spec) => [method.tensorName(spec.name), spec])));
}

/** Gives the content of a tensor that is drawn from a seed. */
export type DrawTensor = (spec: TensorSpec, seed: number) => AdapterTensor;

/** Reads the tensors of a file that was checked, and checks their numbers. Throws `bad_adapter`. */
export async function readTensors(
  file: SafetensorsFile,
  config: AdapterConfig,
  { geometry, draw = drawTensor }: { readonly geometry: AdapterGeometry; readonly draw?: DrawTensor },
): Promise<AdapterTensors> {
  const method = methodOf(config);
  const tensors = new Map<string, AdapterTensor>();
  for (const spec of method.tensors(geometry))
    tensors.set(
      spec.name,
      spec.role === "seeded"
        ? draw(spec, config.seed)
        : await readTensor(file, { spec, name: method.tensorName(spec.name), before: tensors }),
    );
  return tensors;
}
