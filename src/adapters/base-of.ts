import { join } from "node:path";
import { MosError } from "#core";
import { pathExists, readJson, restoreFolder } from "#storage";
import { CONFIG, type SavedFields, savedFields } from "./folder-config.ts";

/** What an adapter's folder says about the model that it was made for. */
export interface SavedBase {
  readonly name: string | undefined;
  /** Undefined for a plain LoRA of PEFT, which knows no such thing. */
  readonly fingerprint: string | undefined;
}

/** adapter_config.json, checked field by field but not yet understood. Throws `not_found`, `bad_adapter`. */
export async function readSavedFields(
  folder: string,
): Promise<{ readonly where: string; readonly fields: SavedFields }> {
  await restoreFolder(folder);
  const where = join(folder, CONFIG);
  if (!(await pathExists(where)))
    throw new MosError("not_found", `${folder}: no adapter here (there is no adapter_config.json)`);
  return { where, fields: await readJson(where, savedFields, { code: "bad_adapter" }) };
}

/** The base of an adapter, before it is loaded. Throws `not_found`, `bad_adapter`. */
export async function readAdapterBase(folder: string): Promise<SavedBase> {
  return baseOf((await readSavedFields(folder)).fields);
}

/** The base that the fields name. */
export const baseOf = (fields: SavedFields): SavedBase => ({
  name: fields.base_model_name_or_path ?? undefined,
  fingerprint: fields.base_fingerprint,
});

/** Throws `bad_adapter` where an adapter was made for another base than the one of this fingerprint. */
export function checkBase(folder: string, { name, fingerprint }: SavedBase, actual: string): void {
  if (fingerprint !== undefined && fingerprint !== actual)
    throw new MosError(
      "bad_adapter",
      `${folder} was trained on another base: ${name ?? "unnamed"} (${fingerprint.slice(0, 19)}…), this one is ${actual.slice(0, 19)}…; use the base it was trained on`,
    );
}
