// Files that say what an answer may be: a JSON schema, or a grammar in one of two syntaxes.
import { readFile, stat } from "node:fs/promises";
import { extname } from "node:path";
import { MosError, parseJson, type SettingValues, setting } from "mixture-of-shards-core/common";
import { storageError } from "mixture-of-shards-core/files";
import type { ChatRequest } from "mixture-of-shards-core/inference";
import { GrammarError, type GrammarSource } from "mixture-of-shards-grammar";
import { z } from "zod";

/** The files' largest size; larger ones would only be refused later. */
const MAX_BYTES = 16 << 20;

export const grammarOptions = {
  jsonSchema: setting(z.string(), {
    placeholder: "file",
    help: "JSON file with a JSON Schema (2020-12) that the answer matches; the model is shown it in a chat",
  }),
  grammar: setting(z.string(), {
    placeholder: "file",
    help: "grammar that the answer matches: Lark (.lark, as llguidance reads it) or GBNF (.gbnf, as llama.cpp does)",
  }),
};

/** A grammar or schema of answers, and the option that gave it. */
export interface GrammarFile {
  readonly source: Extract<GrammarSource, { type: "json_schema" | "lark" | "gbnf" }>;
  /** The option with its file, for messages. */
  readonly origin: string;
}

/** What one of the options gives, if any. Throws `bad_option` for a schema that is not JSON, and what reading a file throws. */
export async function readGrammarFile({
  jsonSchema,
  grammar,
}: SettingValues<typeof grammarOptions>): Promise<GrammarFile | undefined> {
  if (jsonSchema !== undefined) {
    const origin = `--json-schema ${jsonSchema}`;
    const schema = parseJson(await read(jsonSchema, origin), { code: "bad_option", where: origin });
    return { source: { type: "json_schema", schema }, origin };
  }
  if (grammar === undefined) return undefined;
  const origin = `--grammar ${grammar}`;
  const definition = await read(grammar, origin);
  return { source: { type: grammarSyntax(grammar, definition), text: definition }, origin };
}

async function read(path: string, origin: string): Promise<string> {
  try {
    const { size } = await stat(path);
    if (size <= MAX_BYTES) return await readFile(path, "utf8");
    throw new MosError("bad_option", `${origin}: the file has ${size} bytes; the limit is ${MAX_BYTES}`);
  } catch (error) {
    throw error instanceof MosError ? error : storageError(error, origin);
  }
}

/** By the file's extension, or else by its text: only GBNF defines its rules by `::=`. */
export function grammarSyntax(path: string, definition: string): "lark" | "gbnf" {
  const extension = extname(path).toLowerCase();
  if (extension === ".gbnf") return "gbnf";
  if (extension === ".lark") return "lark";
  return /^[ \t]*[\w-]+\s*::=/m.test(definition) ? "gbnf" : "lark";
}

/** The fields of a chat request that constrain its answer: the model is shown a schema. */
export function grammarRequest(
  grammarFile: GrammarFile | undefined,
): Pick<ChatRequest, "grammar" | "responseFormat"> {
  if (grammarFile?.source.type !== "json_schema") return { grammar: grammarFile?.source };
  return { responseFormat: { type: "json_schema", schema: grammarFile.source.schema } };
}

/** An error of an answer, with the file that its grammar came from. */
export function withOrigin(error: unknown, grammarFile: GrammarFile | undefined): unknown {
  if (grammarFile === undefined || !(error instanceof MosError) || !(error.cause instanceof GrammarError))
    return error;
  const { pointer } = error.cause;
  const place =
    pointer === undefined || pointer === "" || error.message.includes(pointer) ? "" : ` at ${pointer}`;
  return new MosError(error.code, `${grammarFile.origin}${place}: ${error.message}`, { cause: error.cause });
}
