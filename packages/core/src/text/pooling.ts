// How a model makes one vector of a text's hidden states: by sentence-transformers' files in a folder, or by a GGUF key.
import { z } from "zod";
import { MosError } from "#common";
import { pathExists, readJson } from "#files";
import { join } from "#platform";
import type { GgufMetadata } from "./gguf-metadata.ts";

/** Hidden state of the last token, or the mean of all. @inline */
export type Pooling = "last" | "mean";

const modulesSchema = z.array(z.looseObject({ type: z.string(), path: z.string() }));
const poolingSchema = z.looseObject({ pooling_mode: z.union([z.string(), z.array(z.string())]).optional() });

/** Names of sentence-transformers up to version 5, each a flag, and since version 6. */
const POOLINGS: ReadonlyMap<string, Pooling> = new Map([
  ["pooling_mode_lasttoken", "last"],
  ["pooling_mode_mean_tokens", "mean"],
  ["lasttoken", "last"],
  ["mean", "mean"],
]);

/** Values of `<architecture>.pooling_type`, llama.cpp's enum. Of 0, no pooling, nothing is left to do but the default. */
const GGUF_POOLINGS: Readonly<Record<string, Pooling>> = { 0: "last", 1: "mean", 3: "last" };

const unsupported = (where: string, what: string): MosError =>
  new MosError("unsupported", `${where}: ${what}, so this model cannot embed texts here`);

/** A module's folder, which is in the model's own. Throws `unsupported` for a path that leads elsewhere. */
function moduleFolder(folder: string, path: string): string {
  if (/^([\w-][\w.-]*)?$/.test(path)) return join(folder, path);
  throw unsupported(join(folder, "modules.json"), `${JSON.stringify(path)} is not the name of a folder`);
}

const textSchema = z.looseObject({ modality_config: z.looseObject({}).nullish() });

/** Since version 6, a model can say that texts are messages to its chat template. */
async function checkPlainText(folder: string): Promise<void> {
  const where = join(folder, "sentence_bert_config.json");
  if (!(await pathExists(where))) return;
  const { modality_config } = await readJson(where, textSchema, { code: "bad_model" });
  if (modality_config?.["message"] !== undefined)
    throw unsupported(where, 'modality_config has "message": texts in a chat template are not supported');
}

async function readPooling(folder: string): Promise<Pooling> {
  const where = join(folder, "modules.json");
  if (!(await pathExists(where))) return "last";
  const modules = await readJson(where, modulesSchema, { code: "bad_model" });
  const kinds = modules.map(({ type, path }) => ({ kind: type.split(".").at(-1), path }));
  const odd = kinds.find(({ kind }) => !["Transformer", "Pooling", "Normalize"].includes(kind ?? ""));
  if (odd !== undefined) throw unsupported(where, `modules of the type ${odd.kind} are not supported`);
  const [text, pooling] = ["Transformer", "Pooling"].map((name) => kinds.find(({ kind }) => kind === name));
  if (text === undefined || pooling === undefined)
    throw unsupported(where, "there is no module of the type Transformer or none of the type Pooling");
  await checkPlainText(moduleFolder(folder, text.path));
  const config = join(moduleFolder(folder, pooling.path), "config.json");
  const { pooling_mode, ...flags } = await readJson(config, poolingSchema, { code: "bad_model" });
  const set = Object.keys(flags).filter((name) => name.startsWith("pooling_mode_") && flags[name] === true);
  const modes = pooling_mode === undefined ? set : [pooling_mode].flat();
  const found = modes.length === 1 ? POOLINGS.get(modes[0] ?? "") : undefined;
  if (found !== undefined) return found;
  throw unsupported(
    config,
    `the pooling ${modes.join(" with ") || "of no mode"} is not supported; supported are lasttoken and mean`,
  );
}

/** Pooling of a folder's model, the last token's by default; or the error for what is not supported, which chat need not know. */
export async function poolingFromFolder(folder: string): Promise<Pooling | MosError> {
  try {
    return await readPooling(folder);
  } catch (cause) {
    if (cause instanceof MosError) return cause;
    throw cause;
  }
}

/** The same of a GGUF file. */
export function poolingFromGguf(metadata: GgufMetadata): Pooling | MosError {
  const key = `${String(metadata["general.architecture"])}.pooling_type`;
  const type = metadata[key] ?? 0;
  return (
    GGUF_POOLINGS[String(type)] ??
    unsupported(
      "the GGUF file's metadata",
      `${key} ${String(type)} is not supported; 1 (mean) and 3 (last) are`,
    )
  );
}
