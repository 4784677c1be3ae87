import { join } from "node:path";
import { MosError } from "#core";
import { openSafetensors, type SafetensorsFile } from "#formats";
import { pathExists } from "#storage";

/** The file of an adapter's folder that holds its tensors. */
export const TENSORS = "adapter_model.safetensors";

/** Opens the tensors of an adapter's folder. Throws `not_found`, `bad_adapter`. */
export async function openTensors(folder: string): Promise<SafetensorsFile> {
  const path = join(folder, TENSORS);
  if (await pathExists(path)) return openSafetensors(path, { code: "bad_adapter" });
  const advice = (await pathExists(join(folder, "adapter_model.bin")))
    ? "; adapter_model.bin may hold code and is never read, save the adapter as safetensors"
    : "";
  throw new MosError("not_found", `${folder}: ${TENSORS} is missing${advice}`);
}
