import { join } from "node:path";
import { openSafetensors } from "#formats";
import { readSavedFields } from "./base-of.ts";
import { readFields } from "./folder-config.ts";
import { inferGeometry } from "./infer-geometry.ts";
import type { AdapterGeometry } from "./method.ts";

/**
 * The shape of the base that a saved adapter fits, told from its folder alone.
 *
 * @throws MosError `bad_option` where its tensors do not tell, and what loading an adapter throws.
 */
export async function readGeometry(folder: string): Promise<AdapterGeometry> {
  const { where, fields } = await readSavedFields(folder);
  await using file = await openSafetensors(join(folder, "adapter_model.safetensors"), {
    code: "bad_adapter",
  });
  const shapes = new Map([...file.tensors].map(([name, { shape }]) => [name, shape]));
  return inferGeometry(readFields(fields, where), shapes);
}
