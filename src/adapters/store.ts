// An adapter's folder in the shape of Hugging Face PEFT: adapter_config.json and adapter_model.safetensors.
import { join } from "node:path";
import { type WritableTensor, writeSafetensors } from "#formats";
import { writeFileAtomic, writeFolderAtomic } from "#storage";
import { readSavedFields } from "./base-of.ts";
import type { Adapter } from "./create.ts";
import { type AdapterBase, CONFIG, writeFields } from "./folder-config.ts";
import { methodOf } from "./methods.ts";
import { openTensors, TENSORS } from "./open-tensors.ts";
import { checkTensors, type LoadAdapterOptions, readSettings, readTensors } from "./read-adapter.ts";

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

/**
 * Loads an adapter's folder and checks all of it: settings, tensors, shapes, index ranges, finite numbers, and that it
 * was trained on this base. A plain LoRA that PEFT saved has no fingerprint, and is checked by its shapes.
 * Throws `not_found`, `bad_adapter`, `unsupported`.
 */
export async function loadAdapter(folder: string, options: LoadAdapterOptions): Promise<Adapter> {
  const { where, fields } = await readSavedFields(folder);
  const config = readSettings({ folder, where, fields }, options);
  await using file = await openTensors(folder);
  checkTensors(file, config, options);
  return { config, geometry: options.geometry, tensors: await readTensors(file, config, options) };
}
