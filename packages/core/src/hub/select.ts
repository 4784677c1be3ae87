import { describeBytes, MosError } from "#common";
import type { Repository } from "./repository.ts";

/** A file as the hub or a folder lists it; `size` in bytes. @inline */
export interface ListedFile {
  readonly path: string;
  readonly size: number;
}

/** The files of a repository that make up one model or adapter. */
export interface Selection<File extends ListedFile = ListedFile> {
  readonly kind: "folder" | "gguf" | "adapter";
  readonly files: readonly File[];
}

const SETTINGS = new Set([
  "config.json",
  "generation_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "chat_template.jinja",
  "special_tokens_map.json",
]);
/** The files of an adapter, as PEFT names them. */
const ADAPTER = ["adapter_config.json", "adapter_model.safetensors"];
const INDEX = "model.safetensors.index.json";
const SHARD = /^model-(\d{5})-of-(\d{5})\.safetensors$/;
const SPLIT_GGUF = /-\d{5}-of-\d{5}\.gguf$/i;

const isGguf = (path: string): boolean => /\.gguf$/i.test(path);
const isWeights = (path: string): boolean => path.endsWith(".safetensors");
const isUsable = (path: string): boolean =>
  !/[<>:"|?*]/.test(path) &&
  (isGguf(path) ||
    isWeights(path) ||
    path === INDEX ||
    ADAPTER.includes(path) ||
    SETTINGS.has(path.slice(path.lastIndexOf("/") + 1)));

/**
 * Chooses the files of one model: those that the caller names, or else the adapter or the safetensors model at the root of
 * the repository, or else its only GGUF file. Never a pickle and never code. Pure: the same for the hub's listing
 * and for a folder of the cache.
 *
 * @param include File names, in which `*` stands for anything but a slash.
 * @throws MosError `bad_option` where the caller has to choose, `not_found` where a named file is missing,
 * `unsupported` where the repository holds nothing that can be read.
 */
export function selectFiles<File extends ListedFile>(
  listed: readonly File[],
  { name, file }: Pick<Repository, "name" | "file">,
  include: readonly string[] = [],
): Selection<File> {
  const usable = listed.filter(({ path }) => isUsable(path));
  const patterns = file === undefined ? include : [file, ...include];
  if (patterns.length > 0) return selectNamed({ name, listed, usable }, patterns);
  const root = usable.filter(({ path }) => !path.includes("/"));
  const adapter = root.filter(({ path }) => ADAPTER.includes(path));
  if (adapter.length === ADAPTER.length && !root.some(({ path }) => path === "config.json"))
    return { kind: "adapter", files: adapter };
  if (root.some(({ path }) => isWeights(path))) return { kind: "folder", files: selectFolder(name, root) };
  return selectOnlyGguf({ name, listed, usable });
}

interface Candidates<File extends ListedFile> {
  readonly name: string;
  readonly listed: readonly File[];
  readonly usable: readonly File[];
}

function selectNamed<File extends ListedFile>(
  { name, listed, usable }: Candidates<File>,
  patterns: readonly string[],
): Selection<File> {
  const chosen = new Set<File>();
  for (const pattern of patterns) {
    const matches = usable.filter(({ path }) => matchesPattern(path, pattern));
    if (matches.length === 0) throw noMatch({ name, listed, usable }, pattern);
    for (const match of matches) chosen.add(match);
  }
  const files = [...chosen];
  const ggufs = files.filter(({ path }) => isGguf(path));
  if (ggufs.length > 1) throw chooseOne(name, ggufs);
  if (ggufs[0] !== undefined) refuseSplit(name, ggufs[0].path);
  return { kind: ggufs.length === 1 ? "gguf" : "folder", files };
}

function selectOnlyGguf<File extends ListedFile>(candidates: Candidates<File>): Selection<File> {
  const ggufs = candidates.usable.filter(({ path }) => isGguf(path));
  const [only] = ggufs;
  if (only === undefined) throw nothingUsable(candidates);
  if (ggufs.length > 1) throw chooseOne(candidates.name, ggufs);
  refuseSplit(candidates.name, only.path);
  return { kind: "gguf", files: [only] };
}

function selectFolder<File extends ListedFile>(name: string, root: readonly File[]): readonly File[] {
  const has = (path: string): boolean => root.some((file) => file.path === path);
  for (const needed of ["config.json", "tokenizer.json"]) {
    if (!has(needed))
      throw new MosError(
        "unsupported",
        `${name} has safetensors weights but no ${needed}, which is needed to run them`,
      );
  }
  const weights = selectWeights(name, root);
  return root.filter(({ path }) => SETTINGS.has(path) || weights.has(path));
}

/** Some repositories hold the same weights twice (whole and in shards, or under Mistral's own names): take one set. */
function selectWeights(name: string, root: readonly ListedFile[]): ReadonlySet<string> {
  const paths = new Set(root.map(({ path }) => path));
  if (paths.has("model.safetensors")) return new Set(["model.safetensors"]);
  if (!paths.has(INDEX)) return new Set([...paths].filter(isWeights));
  const shards = [...paths].filter((path) => SHARD.test(path));
  const announced = Math.max(0, ...shards.map((path) => Number(SHARD.exec(path)?.[2])));
  if (shards.length === 0 || shards.length !== announced)
    throw new MosError(
      "unsupported",
      `${name} has an index of sharded weights, but ${shards.length} of ${announced || "its"} shards`,
    );
  return new Set([INDEX, ...shards]);
}

function refuseSplit(name: string, path: string): void {
  if (!SPLIT_GGUF.test(path)) return;
  throw new MosError(
    "unsupported",
    `${name}: ${path} is one part of a split GGUF model; use a file that holds the whole model`,
  );
}

function matchesPattern(path: string, pattern: string): boolean {
  const literal = pattern.split("*").map((part) => part.replace(/[\\^$.+?()[\]{}|]/g, "\\$&"));
  return new RegExp(`^${literal.join("[^/]*")}$`).test(path);
}

function chooseOne(name: string, ggufs: readonly ListedFile[]): MosError {
  const shown = ggufs.slice(0, 20).map(({ path, size }) => `  ${name}:${path}  (${describeBytes(size)})`);
  const more = ggufs.length > shown.length ? [`  and ${ggufs.length - shown.length} more`] : [];
  return new MosError("bad_option", `${name} holds ${ggufs.length} GGUF files; name one of them:`, {
    hint: [...shown, ...more].join("\n"),
  });
}

function noMatch({ name, listed, usable }: Candidates<ListedFile>, pattern: string): MosError {
  if (listed.some(({ path }) => matchesPattern(path, pattern))) {
    return new MosError(
      "unsupported",
      `${name}: ${pattern} is not a supported file; supported are safetensors, GGUF and their settings, never pickles or code`,
    );
  }
  const models = usable.filter(({ path }) => isGguf(path) || isWeights(path)).slice(0, 12);
  const hint = models.length === 0 ? "" : `; it has ${models.map(({ path }) => path).join(", ")}`;
  return new MosError("not_found", `${name} has no file ${pattern}${hint}`);
}

function nothingUsable({ name, listed }: Candidates<ListedFile>): MosError {
  const pickle = listed.find(({ path }) => /\.(bin|pt|pth|ckpt|pkl)$/i.test(path));
  if (pickle === undefined)
    return new MosError("unsupported", `${name} holds no safetensors and no GGUF weights`);
  return new MosError(
    "unsupported",
    `${name} holds its weights only as pickles (${pickle.path}), which can run code when they are read; ` +
      `look for a safetensors version, often under ${name}@refs/pr/N`,
  );
}
