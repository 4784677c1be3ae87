// What stands beside the weights of a merged model: its config, its tokenizer, its chat template.
import { copyFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { huggingFaceConfig, type ModelFiles } from "#models";
import { readJson, storageError, writeFileAtomic } from "#storage";
import { tokenizerFilesFromGguf } from "#text";
import type { FileDtype } from "./file-dtype.ts";
import type { MergePlan } from "./merge-plan.ts";

/** Files of a folder that the merged model takes over as they are. Weights and code are not among them. */
const COPIED =
  /^(generation_config\.json|tokenizer\.json|tokenizer_config\.json|special_tokens_map\.json|added_tokens\.json|tokenizer\.model|vocab\.json|merges\.txt|chat_template\.(jinja|json)|(LICEN[SC]E|NOTICE|USE_POLICY)(\.(md|txt))?)$/;

const asText = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;

/** config.json of a folder, with another type of numbers; transformers 5 calls the field `dtype`. */
async function retypedConfig(folder: string, dtype: FileDtype): Promise<object> {
  const config = await readJson(join(folder, "config.json"), z.looseObject({}), { code: "bad_model" });
  return { ...config, [Object.hasOwn(config, "dtype") ? "dtype" : "torch_dtype"]: dtype };
}

async function copyFiles(from: string, into: string): Promise<void> {
  const names = await readdir(from).catch((error: unknown) => {
    throw storageError(error, from);
  });
  for (const name of names.filter((found) => COPIED.test(found)).sort())
    await copyFile(join(from, name), join(into, name)).catch((error: unknown) => {
      throw storageError(error, join(into, name));
    });
}

/** A GGUF file's header holds all that Hugging Face keeps in files of their own. */
function filesOfGguf(
  { config, path, source }: ModelFiles & { readonly source: { readonly kind: "gguf" } },
  dtype: FileDtype,
): Readonly<Record<string, unknown>> {
  const { tokenizer, config: tokenizerConfig } = tokenizerFilesFromGguf(source.file.metadata);
  const fields = huggingFaceConfig(config, path);
  return {
    "config.json": { ...fields, torch_dtype: dtype },
    "generation_config.json": {
      bos_token_id: fields["bos_token_id"],
      eos_token_id: fields["eos_token_id"],
      pad_token_id: fields["pad_token_id"],
    },
    "tokenizer.json": tokenizer,
    "tokenizer_config.json": { ...Object(tokenizerConfig), model_max_length: config.maxPositions },
  };
}

/** Writes config, tokenizer and chat template into the folder of a merged model. */
export async function writeMergedFiles(model: ModelFiles, plan: MergePlan, into: string): Promise<void> {
  const { source } = model;
  if (source.kind === "folder") await copyFiles(source.folder, into);
  const files =
    source.kind === "folder"
      ? { "config.json": await retypedConfig(source.folder, plan.dtype) }
      : filesOfGguf({ ...model, source }, plan.dtype);
  for (const [name, value] of Object.entries(files)) await writeFileAtomic(join(into, name), asText(value));
  if (plan.shards.length > 1) await writeFileAtomic(join(into, INDEX), asText(indexOf(plan)));
}

const INDEX = "model.safetensors.index.json";

/** Which file holds which tensor, in the order of their names. */
const indexOf = ({ bytes, shards }: MergePlan): object => ({
  metadata: { total_size: bytes },
  weight_map: Object.fromEntries(
    shards
      .flatMap(({ file, tensors }) => tensors.map(({ name }) => [name, file] as const))
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  ),
});
