// The session of the studio's page: the key of its user in a cookie that no script can read, and that no other page can use.
import { deleteCookie, getCookie, setCookie } from "hono/cookie";
import type { RequestContext } from "./context.ts";

const COOKIE = "mos_session";
/** Sent by the page with every request. Another origin's page has to ask before it may send it, and is not allowed to. */
const HEADER = "x-mos-session";

/** Tests whether a request comes from a page of this server, as far as its browser says. */
export function isOwnPage({ req }: RequestContext): boolean {
  const site = req.header("sec-fetch-site");
  if (req.header(HEADER) !== "1") return false;
  if (site !== undefined) return site === "same-origin";
  // without encryption, browsers send only this, and not with GET
  const origin = req.header("origin");
  const host = req.header("host") ?? new URL(req.url).host;
  return origin === undefined || (URL.canParse(origin) && new URL(origin).host === host);
}

/** The header Authorization of a request, or in its form x-api-key, which Anthropic's clients send, or the key of its session. */
export function authorizationOf(context: RequestContext): string | undefined {
  const sent = context.req.header("authorization");
  if (sent !== undefined) return sent;
  const apiKey = context.req.header("x-api-key");
  if (apiKey !== undefined) return `Bearer ${apiKey}`;
  const key = getCookie(context, COOKIE);
  return key !== undefined && isOwnPage(context) ? `Bearer ${key}` : undefined;
}

/** Where the server's paths begin for the browser, which a proxy may have put below a path: the page's address says it. */
function mountPath({ req }: RequestContext): string {
  const page = req.header("referer") ?? "";
  const path = URL.canParse(page) ? new URL(page).pathname : "";
  const [mount = ""] = path.slice(0, path.lastIndexOf("/studio/") + 1).split(";"); // which ends an attribute of a cookie
  return mount.slice(0, mount.lastIndexOf("/") + 1) || "/";
}

const attributes = (context: RequestContext) => ({
  path: mountPath(context),
  httpOnly: true,
  sameSite: "Strict" as const,
  // a proxy may have ended TLS: the origin is as the browser knows it
  secure: [context.req.url, context.req.header("origin")].some((url) => url?.startsWith("https:")),
});

/** Keeps a key until the browser closes. */
export const beginSession = (context: RequestContext, key: string): void =>
  setCookie(context, COOKIE, key, attributes(context));

/** Forgets the key. */
export const endSession = (context: RequestContext): void =>
  void deleteCookie(context, COOKIE, attributes(context));
