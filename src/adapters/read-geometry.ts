import { readSavedFields } from "./base-of.ts";
import { readFields } from "./folder-config.ts";
import { inferGeometry } from "./infer-geometry.ts";
import type { AdapterGeometry } from "./method.ts";
import { openTensors } from "./open-tensors.ts";

/**
 * The shape of the base that a saved adapter fits, told from its folder alone.
 *
 * @throws MosError `bad_option` where its tensors do not tell, and what loading an adapter throws.
 */
export async function readGeometry(folder: string): Promise<AdapterGeometry> {
  const { where, fields } = await readSavedFields(folder);
  const config = readFields(fields, where);
  await using file = await openTensors(folder);
  const shapes = new Map([...file.tensors].map(([name, { shape }]) => [name, shape]));
  return inferGeometry(config, shapes);
}
