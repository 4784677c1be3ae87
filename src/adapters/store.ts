// An adapter's folder in the shape of Hugging Face PEFT: adapter_config.json and adapter_model.safetensors.
import { join } from "node:path";
import { MosError } from "#core";
import {
  type SafetensorsFile,
  type WritableTensor,
  writeFileAtomic,
  writeFolderAtomic,
  writeSafetensors,
} from "#formats";
import { baseOf, checkBase, readSavedFields } from "./base-of.ts";
import { type Adapter, drawTensor } from "./create.ts";
import { type AdapterBase, readFields, writeFields } from "./folder-config.ts";
import type { AdapterGeometry, AdapterTensor, AdapterTensors, TensorSpec } from "./method.ts";
import { methodOf } from "./methods.ts";
import { openTensors, TENSORS } from "./open-tensors.ts";

const CONFIG = "adapter_config.json";

/**
 * Writes the two files into a folder that may hold other things, each complete or absent. The config comes last:
 * a folder without it is no adapter.
 */
export async function writeAdapterFiles(
  folder: string,
  adapter: Adapter,
  { base }: { readonly base: AdapterBase },
): Promise<void> {
  const method = methodOf(adapter.config);
  const named = new Map<string, WritableTensor>();
  const seeded = new Set(
    method.tensors(adapter.geometry).flatMap(({ name, role }) => (role === "seeded" ? [name] : [])),
  );
  for (const [name, { shape, data }] of adapter.tensors) {
    if (seeded.has(name)) continue;
    named.set(
      method.tensorName(name),
      data instanceof Int32Array ? { dtype: "I32", shape, data } : { dtype: "F32", shape, data },
    );
  }
  await writeSafetensors(join(folder, TENSORS), Object.fromEntries(named), { format: "pt" });
  await writeFileAtomic(join(folder, CONFIG), `${JSON.stringify(writeFields(adapter, base), null, 2)}\n`);
}

/** Saves an adapter as a folder of its own, which takes the place of what was there only when it is complete. */
export const saveAdapter = (
  folder: string,
  adapter: Adapter,
  options: { readonly base: AdapterBase },
): Promise<void> => writeFolderAtomic(folder, (into) => writeAdapterFiles(into, adapter, options));

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

/** What an adapter is checked against. */
export interface LoadAdapterOptions {
  readonly geometry: AdapterGeometry;
  /** Of the base that the adapter is to be used with; undefined where only the adapter itself matters. */
  readonly fingerprint: string | undefined;
}

/**
 * Loads an adapter's folder and checks all of it: settings, tensors, shapes, index ranges, finite numbers, and that it
 * was trained on this base. A plain LoRA that PEFT saved has no fingerprint, and is checked by its shapes.
 * Throws `not_found`, `bad_adapter`, `unsupported`.
 */
export async function loadAdapter(
  folder: string,
  { geometry, fingerprint }: LoadAdapterOptions,
): Promise<Adapter> {
  const { where, fields } = await readSavedFields(folder);
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
  const specs = method.tensors(geometry);
  if (fields.seed === undefined && specs.some(({ role }) => role === "seeded"))
    throw new MosError(
      "bad_adapter",
      `${where}: field "seed" is missing, and a part of the adapter is drawn from it; save the adapter again`,
    );
  await using file = await openTensors(folder);
  const saved = specs.filter(({ role }) => role !== "seeded");
  checkNames(file, new Map(saved.map((spec) => [method.tensorName(spec.name), spec])));
  const tensors = new Map<string, AdapterTensor>();
  for (const spec of specs)
    tensors.set(
      spec.name,
      spec.role === "seeded"
        ? drawTensor(spec, config.seed)
        : await readTensor(file, { spec, name: method.tensorName(spec.name), before: tensors }),
    );
  return { config, geometry, tensors };
}
