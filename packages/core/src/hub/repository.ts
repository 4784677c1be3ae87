import { MosError } from "#common";

/** Models and data sets have separate name spaces. */
export type RepositoryKind = "model" | "dataset";

/** A model on the hub as a user writes it: `org/name[@revision][:file]`. */
export interface Repository {
  /** `org/name`. */
  readonly name: string;
  /** A branch, a tag, `refs/pr/N` or a commit id. */
  readonly revision: string;
  /** One file of the repository, for those that hold a choice of GGUF files. */
  readonly file?: string;
}

const WRITTEN = /^(?<name>[^@:]+)(?:@(?<revision>[^:]+))?(?::(?<file>.+))?$/;
/** What addresses of the hub begin with, and Ollama's names of models. */
const HOST = /^(?:https?:\/\/)?(?:www\.)?(?:huggingface\.co|hf\.co)\//;
/** The rest of a model's address: its page, a revision of it, or a file. */
const PAGE =
  /^(?!datasets\/|spaces\/)(?<name>[^/@:?#]+\/[^/@:?#]+)(?:\/(?:tree|blob|resolve)\/(?<revision>[^/?#]+)(?:\/(?<file>[^?#]+))?)?\/?(?:[?#].*)?$/;
const NAME = /^[A-Za-z0-9][\w.-]{0,95}\/[A-Za-z0-9][\w.-]{0,95}$/;
const REVISION = /^[A-Za-z0-9][\w.+/-]{0,199}$/;

/** A commit id: 40 hexadecimal digits. */
export const isCommit = (text: string): boolean => /^[0-9a-f]{40}$/.test(text);

/**
 * Tests whether a file name from a server is safe to join to a folder on any platform: relative, with no ".." or
 * "." or empty part, no backslash, no drive letter and no control character.
 */
export function isSafePath(path: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this looks for
  if (path.length > 1024 || /[\\\u0000-\u001f\u007f-\u009f]/.test(path)) return false;
  return path
    .split("/")
    .every((part) => part !== "" && part !== "." && part !== ".." && !/^[A-Za-z]:/.test(part));
}

/**
 * The model of an address of the hub, or of its mirror at `endpoint`, as `org/name[@revision][:file]`. Other text stays as it is.
 */
export function repositoryAt(text: string, endpoint?: string): string {
  const isMirror = endpoint !== undefined && text.startsWith(`${endpoint}/`);
  const rest = isMirror ? text.slice(endpoint.length + 1) : text.replace(HOST, "");
  const { name, revision, file } = (rest === text ? undefined : PAGE.exec(rest)?.groups) ?? {};
  if (name === undefined) return text;
  try {
    const plain = (mark: string, part: string | undefined): string =>
      part === undefined ? "" : mark + decodeURIComponent(part);
    return name + plain("@", revision) + plain(":", file);
  } catch {
    return text; // a stray %
  }
}

/** Tests whether text has the form `org/name[@revision][:file]`. The caller rules out local paths of the same form first. */
export const looksLikeRepository = (text: string): boolean =>
  NAME.test(WRITTEN.exec(text)?.groups?.["name"] ?? "");

/**
 * Reads `org/name[@revision][:file]`, or the address of such a model on the hub.
 *
 * @throws MosError `bad_option` where a part cannot be on the hub.
 */
export function parseRepository(text: string, revision = "main"): Repository {
  const groups = WRITTEN.exec(repositoryAt(text))?.groups ?? {};
  const { name = "", revision: written = revision, file } = groups;
  if (!NAME.test(name) || /\.\.|--/.test(name) || name.endsWith(".git"))
    throw new MosError(
      "bad_option",
      `${JSON.stringify(text)} is not the name of a Hub repository; write org/name, org/name@revision or org/name:file.gguf`,
    );
  if (!REVISION.test(written) || !isSafePath(written))
    throw new MosError(
      "bad_option",
      `${name}: ${JSON.stringify(written)} cannot be a revision; use a branch, a tag, refs/pr/N or a commit id`,
    );
  if (file === undefined) return { name, revision: written };
  if (!isSafePath(file))
    throw new MosError(
      "bad_option",
      `${name}: ${JSON.stringify(file)} cannot be the name of a file in a repository`,
    );
  return { name, revision: written, file };
}
