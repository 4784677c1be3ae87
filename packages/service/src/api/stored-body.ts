// A body of JSON whose texts can be rows of the database.
import { jsonBody } from "mixture-of-shards/server";
import { storable } from "#database";
import { invalid } from "./service-env.ts";

/** The place of the first text, as a name or a value, that PostgreSQL does not keep. */
function unstorableAt(value: unknown, path: readonly string[] = []): readonly string[] | undefined {
  if (typeof value === "string") return storable(value) === value ? undefined : path;
  if (typeof value !== "object" || value === null) return undefined;
  for (const [name, member] of Object.entries(value)) {
    const found = storable(name) === name ? unstorableAt(member, [...path, name]) : path;
    if (found !== undefined) return found;
  }
  return undefined;
}

/**
 * Reads a body as `jsonBody` does. PostgreSQL takes no zero bytes and no lone surrogates, neither in texts nor in JSON.
 *
 * @throws ApiError 400 that names the field which holds one, however deep it is.
 */
export const storedBody: typeof jsonBody = (context, next) =>
  jsonBody(context, async () => {
    const path = unstorableAt(await context.req.json())?.join(".");
    if (path !== undefined)
      throw invalid(
        `${path === "" ? "the request" : path} contains a zero byte or half a surrogate pair; remove it`,
        path,
      );
    await next();
  });
