import { MosError } from "#core";
import { apiFetch, type ConnectionOptions, connect } from "./connection.ts";
import { subjectOf } from "./failure.ts";

/** A small text that lies openly on some server, such as a file of a GitHub repository. */
export interface TextFile {
  readonly url: string;
  /** For messages: whose file it is, and which. */
  readonly repository: string;
  readonly path: string;
}

/**
 * Fetches a text file of at most 32 MiB; tries again after a break. No token is sent.
 *
 * @throws MosError `bad_option`, `not_found`, `network`, `bad_data` where it is not UTF-8, `cancelled`.
 */
export async function fetchTextFile(
  { url, repository, path }: TextFile,
  options: Omit<ConnectionOptions, "endpoint" | "token"> = {},
): Promise<string> {
  if (!URL.canParse(url)) throw new MosError("bad_option", `${JSON.stringify(url)} is not an address`);
  const connection = connect({
    endpoint: new URL(url).origin,
    ...(options.signal === undefined ? {} : { signal: options.signal }),
    ...(options.fetch === undefined ? {} : { fetch: options.fetch }),
    ...(options.sleep === undefined ? {} : { sleep: options.sleep }),
    ...(options.retries === undefined ? {} : { retries: options.retries }),
  });
  const subject = { ...subjectOf({ name: repository, revision: "main" }, connection, "dataset"), path };
  const response = await apiFetch(connection, subject)(url);
  const bytes = await response.arrayBuffer();
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new MosError("bad_data", `${url}: the text is not valid UTF-8`, { cause });
  }
}
