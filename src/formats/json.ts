import type { z } from "zod";
import { type ErrorCode, MosError } from "#core";
import { type ReadOptions, readBytes } from "./files.ts";

/** "rope_scaling.factor: expected number, received string; …": what a failed zod parse has to say to a person. */
function describeIssues(error: z.ZodError): string {
  const shown = error.issues.slice(0, 3).map(({ path, message }) => {
    const field = path.map(String).join(".");
    const said = message.replace(/^Invalid input: /, "");
    return field === "" ? said : `field "${field}": ${said}`;
  });
  const more = error.issues.length - shown.length;
  return shown.join("; ") + (more > 0 ? `; and ${more} more` : "");
}

/** Checks a value that came from outside; the message names the place and the failing fields. */
export function parseWith<S extends z.ZodType>(
  schema: S,
  value: unknown,
  { code, where }: { readonly code: ErrorCode; readonly where: string },
): z.output<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new MosError(code, `${where}: ${describeIssues(result.error)}`, { cause: result.error });
}

/** Bytes as text; bytes that are not UTF-8 are an error, never replaced silently. */
export function decodeText(bytes: Uint8Array, { code, where }: { code: ErrorCode; where: string }): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw new MosError(code, `${where}: the text is not valid UTF-8`, { cause: error });
  }
}

/** Text as a JSON value of unknown shape. */
export function parseJson(text: string, { code, where }: { code: ErrorCode; where: string }): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new MosError(code, `${where}: not valid JSON (${reason})`, { cause: error });
  }
}

/**
 * Reads a JSON file of bounded size and checks it against a zod schema.
 *
 * @throws MosError "not_found" or "storage" from the disk; `options.code` for anything wrong with the content.
 * @example
 * const config = await readJson("config.json", z.looseObject({ hidden_size: z.int() }), { code: "bad_model" });
 */
export async function readJson<S extends z.ZodType>(
  path: string,
  schema: S,
  options: ReadOptions,
): Promise<z.output<S>> {
  const place = { code: options.code, where: path };
  return parseWith(schema, parseJson(decodeText(await readBytes(path, options), place), place), place);
}
