// Documents of plain text and Markdown: finding and reading them, as passages.
import { z } from "zod";
import { decodeText, isUtf16, MosError, parseWith } from "#common";
import { pathExists, readBytes, readJsonLines } from "#files";
import { extname, glob, join, stat } from "#platform";
import { matching } from "./locate-data.ts";
import { type Passage, splitPassages } from "./passages.ts";
import { describeOtherFile, isDataFile } from "./records.ts";

/** Extensions of readable documents. */
const DOCUMENT_EXTENSIONS = [".txt", ".md", ".markdown"];
const isDocument = (path: string): boolean => DOCUMENT_EXTENSIONS.includes(extname(path).toLowerCase());

/** A passage and the file that it is from. */
export interface SourcedPassage extends Passage {
  readonly source: string;
}

/** Files that were found. */
export interface FoundDocuments {
  readonly paths: readonly string[];
  /** Files of folders that are no documents. */
  readonly leftOut: readonly string[];
}

/**
 * Finds documents: files as they are, the documents below a folder, and the files of a pattern in quotes.
 *
 * @throws MosError `not_found`; `unsupported` for a named file of another kind, saying what to do with it.
 */
export async function findDocuments(names: readonly string[]): Promise<FoundDocuments> {
  const found: FoundDocuments[] = [];
  for (const name of names) {
    const isFolder = (await pathExists(name)) && (await stat(name)).isDirectory();
    found.push(isFolder ? await documentsBelow(name) : { paths: await namedDocuments(name), leftOut: [] });
  }
  return {
    paths: [...new Set(found.flatMap(({ paths }) => paths))],
    leftOut: found.flatMap(({ leftOut }) => leftOut),
  };
}

async function documentsBelow(folder: string): Promise<FoundDocuments> {
  const found = await glob("**/*", { cwd: folder, onlyFiles: true, ignore: ["**/node_modules/**"] });
  const all = found.sort((a, b) => (a < b ? -1 : 1)).map((name) => join(folder, name));
  const paths = all.filter(isDocument);
  if (paths.length === 0) throw new MosError("not_found", `${folder}: ${noneText(all)}; ${READABLE}`);
  return { paths, leftOut: all.filter((path) => !isDocument(path)) };
}

async function namedDocuments(name: string): Promise<readonly string[]> {
  const isPattern = !(await pathExists(name)) && /[*?[\]{}]/.test(name);
  const paths = isPattern ? await matching(name) : [name];
  const other = paths.find((path) => !isDocument(path) && !isPassages(path));
  if (other === undefined) return paths;
  const kind = describeOtherFile(other);
  if (kind === undefined && !(await pathExists(other)))
    throw new MosError("not_found", `${other}: no such file or folder; check the path`);
  throw new MosError("unsupported", kind ?? noDocument(other));
}

const READABLE = "text and Markdown are read, by the names .txt, .md and .markdown";
const isPassages = (path: string): boolean => /\.(jsonl|ndjson)$/i.test(path);

const noDocument = (path: string): string =>
  `${path}: ${isDataFile(path) ? "this is data, not a document; mos data inspect looks at it" : "this is no document"}; ${READABLE}`;

/** Why a folder has no documents, by the first file in it that could become one. */
function noneText(found: readonly string[]): string {
  if (found.length === 0) return "the folder is empty";
  const other = found.map(describeOtherFile).find((text) => text !== undefined);
  return `the folder holds no documents${other === undefined ? "" : ` (${other})`}`;
}

/** Options of reading passages. */
export interface ReadPassagesOptions {
  /** Tests whether a text is short enough to be a passage. */
  readonly fits: (text: string) => boolean;
  readonly signal?: AbortSignal | undefined;
}

const passageSchema = z.object({
  text: z.string(),
  source: z.string().optional(),
  line: z.int().optional(),
  headings: z.array(z.string()).optional(),
});

/**
 * Reads documents as passages, in order. A JSON Lines file holds passages already, as objects with `text`.
 *
 * @throws MosError `bad_data` for a file that is not text in UTF-8, and for documents without a passage; `not_found`,
 * `storage`, `cancelled`.
 */
export async function* readPassages(
  paths: readonly string[],
  { fits, signal }: ReadPassagesOptions,
): AsyncGenerator<SourcedPassage, void> {
  let count = 0;
  for (const path of paths) {
    const passages = isPassages(path) ? readStored(path) : await readDocument(path, fits);
    for await (const passage of passages) {
      if (signal?.aborted === true) throw new MosError("cancelled", `cancelled after ${count} passages`);
      count++;
      yield passage;
    }
  }
  if (count === 0)
    throw new MosError("bad_data", `${paths.join(", ")}: there is no text to make passages of`);
}

async function* readStored(path: string): AsyncGenerator<SourcedPassage, void> {
  for await (const { line, value } of readJsonLines(path)) {
    const where = `${path}:${line}`;
    const found = parseWith(passageSchema, value, { code: "bad_data", where });
    if (found.text.trim() === "") throw new MosError("bad_data", `${where}: text is empty`);
    const { source = path, headings = [] } = found;
    yield { source, line: found.line ?? line, headings, text: found.text };
  }
}

async function readDocument(
  path: string,
  fits: (text: string) => boolean,
): Promise<readonly SourcedPassage[]> {
  const place = { code: "bad_data", where: path } as const;
  const bytes = await readBytes(path, { code: "bad_data" });
  if (bytes.includes(0) && !isUtf16(bytes))
    throw new MosError(
      "bad_data",
      `${path}: this is not text in UTF-8, as it holds NUL bytes; save it as UTF-8`,
    );
  const text = decodeText(bytes, place)
    .replace(/^\uFEFF/, "")
    .replace(/\r\n?/g, "\n");
  const isMarkdown = !path.toLowerCase().endsWith(".txt");
  return splitPassages(text, { isMarkdown, fits }).map((passage) => ({ source: path, ...passage }));
}
