import type { Context } from "hono";
import type { ServerContext, ServerEnv } from "./context.ts";
import { ANYBODY, type ApiKey } from "./key-ring.ts";
import { Refusal } from "./refusal.ts";

/** Longer than any key that this package makes; nothing longer is hashed. */
const LONGEST_KEY = 512;

/** The key that a request is sent with. @throws Refusal 401 for a missing, wrong or revoked one, without saying which. */
async function keyOf({ keys }: ServerContext, header: string | undefined): Promise<ApiKey> {
  if (keys === undefined) return ANYBODY;
  const token = /^Bearer +(\S+) *$/i.exec(header ?? "")?.[1];
  const refuse = (message: string): Refusal =>
    new Refusal(message, {
      status: 401,
      reason: "invalid_api_key",
      headers: { "www-authenticate": "Bearer" },
    });
  if (token === undefined)
    throw refuse("there is no API key; send it in the header Authorization: Bearer KEY");
  const key = token.length > LONGEST_KEY ? undefined : await keys.find(token);
  if (key === undefined) throw refuse("the API key is not valid");
  return key;
}

/** Finds out who sends a request, and counts it. */
export async function authenticate(server: ServerContext, context: Context<ServerEnv>): Promise<ApiKey> {
  const key = await keyOf(server, context.req.header("authorization"));
  context.get("record").keyName = key.name;
  server.admission.count(key);
  return key;
}

/** @throws Refusal 403 for a request to a host of another name. */
export function checkHost({ hosts }: ServerContext, context: Context<ServerEnv>): void {
  const { hostname } = new URL(context.req.url);
  if (hosts === undefined || hosts.includes(hostname)) return;
  throw new Refusal(`this server is not called ${hostname}; use ${hosts.join(" or ")}`, {
    status: 403,
    reason: "wrong_host",
  });
}
