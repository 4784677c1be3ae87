import { readdir, realpath, stat } from "node:fs/promises";
import { basename, resolve } from "node:path";
import { MosError } from "#core";
import { openGguf } from "#formats";
import { storageError } from "#storage";

export interface TargetOptions {
  readonly overwrite: boolean;
  /** What is read: it may not be replaced by the result. */
  readonly sources: readonly string[];
}

const realPath = (path: string): Promise<string> => realpath(path).catch(() => resolve(path));
const refuse = (message: string): never => {
  throw new MosError("bad_option", message);
};

/** Refuses a place that no file or folder can be moved to: nothing, ".", "..", "/". Throws `bad_option`. */
export function checkName(path: string): void {
  if (["", ".", ".."].includes(basename(path)))
    refuse(`${JSON.stringify(path)} is no name for a result; name the file or folder that is to be written`);
}

/** Refuses a place without a name, and what is read. Throws `bad_option`. */
async function checkPlace(path: string, sources: readonly string[]): Promise<void> {
  checkName(path);
  const own = await realPath(path);
  for (const source of sources)
    if ((await realPath(source)) === own)
      refuse(`${path} is what is read, and would be replaced; choose another place for the result`);
}

const kindOf = async (path: string): Promise<"folder" | "file" | undefined> => {
  const found = await stat(path).catch(() => undefined);
  return found === undefined ? undefined : found.isDirectory() ? "folder" : "file";
};

/** Whether a file is what export writes: a GGUF file that says that it holds an adapter. */
async function isGgufLora(path: string): Promise<boolean> {
  try {
    await using file = await openGguf(path);
    return file.metadata["general.type"] === "adapter";
  } catch (error) {
    if (error instanceof MosError) return false;
    throw error;
  }
}

/** Refuses to write a GGUF file where something is, and ever to replace another file. Throws `bad_option`. */
export async function checkFileTarget(path: string, { overwrite, sources }: TargetOptions): Promise<void> {
  await checkPlace(path, sources);
  const kind = await kindOf(path);
  if (kind === "folder") refuse(`${path} is a folder; name the file that is to be written`);
  if (kind !== "file") return;
  if (!(await isGgufLora(path)))
    refuse(`${path} is no adapter in GGUF and would be lost; choose another name`);
  if (!overwrite) refuse(`${path} exists already; add --overwrite to replace it`);
}

const ADAPTER_FILES: ReadonlySet<string> = new Set(["adapter_config.json", "adapter_model.safetensors"]);

/** Refuses to write an adapter's folder where something is, and ever to replace other files. Throws `bad_option`. */
export async function checkFolderTarget(path: string, { overwrite, sources }: TargetOptions): Promise<void> {
  await checkPlace(path, sources);
  const kind = await kindOf(path);
  if (kind === undefined) return;
  if (kind === "file") refuse(`${path} is a file; name the folder that is to be written`);
  const names = await readdir(path).catch((cause: unknown) => {
    throw storageError(cause, path);
  });
  const foreign = names.find((name) => !ADAPTER_FILES.has(name));
  if (foreign !== undefined)
    refuse(
      `${path} holds ${foreign}, which is no part of an adapter and would be lost; choose another folder`,
    );
  if (names.length > 0 && !overwrite)
    refuse(`${path} holds an adapter already; add --overwrite to replace it`);
}
