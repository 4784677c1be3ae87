// The studio: its page, its settings, and the session of the user who signs in.
import { z } from "@hono/zod-openapi";
import { authenticate, checkSite, seesAll } from "../auth.ts";
import type { RequestContext, ServerApp } from "../context.ts";
import { ApiError, forbidden, notFound } from "../errors.ts";
import { jsonBody } from "../request.ts";
import { authorizationOf, beginSession, endSession, isOwnPage } from "../session.ts";
import type { Studio } from "../studio-page.ts";

/** Only what this server sends; no script or style within a page, and no page around this one. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
  "font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

const HEADERS: Readonly<Record<string, string>> = {
  "content-security-policy": POLICY,
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "permissions-policy": "camera=(), geolocation=(), microphone=()",
  // not "no-referrer": the page's address says below which path a proxy put the server
  "referrer-policy": "same-origin",
};

const INDEX = "index.html";
const NOT_BUILT =
  "The studio's page is missing from this installation: run npm run build in the clone, and start the server again.";

const sessionBody = z.strictObject({ key: z.string().regex(/^[\x21-\x7e]{1,512}$/, "an API key") });

const notHere = ({ req }: RequestContext): ApiError =>
  notFound(`no route ${req.path.slice(0, 200)}`, "unknown_url");

/** @throws ApiError 404 where the server has no page. */
function studioOf(context: RequestContext): Studio {
  const { studio } = context.var.server;
  if (studio === undefined) throw notHere(context);
  return studio;
}

/** A file of the table, or nothing where the browser has it already. */
function sendFile(context: RequestContext, { files }: Studio): Response {
  const { req } = context;
  const path = req.path.slice(req.path.lastIndexOf("/studio/") + "/studio/".length);
  const file = files.get(path === "" ? INDEX : path);
  if (file === undefined) {
    if (path === "") return context.text(`${NOT_BUILT}\n`, 404);
    throw notHere(context);
  }
  const { body, zipped, type, etag, isLasting } = file;
  context.header("cache-control", isLasting ? "public, max-age=31536000, immutable" : "no-cache");
  context.header("etag", etag);
  context.header("vary", "accept-encoding");
  if (req.header("if-none-match") === etag) return context.body(null, 304);
  context.header("content-type", type);
  const isZipped = zipped !== undefined && /\bgzip\b/.test(req.header("accept-encoding") ?? "");
  if (isZipped) context.header("content-encoding", "gzip");
  return context.body(isZipped ? zipped : body);
}

/** What the page needs to know before its first request to the API. */
async function settings(context: RequestContext, { version }: Studio) {
  const { server } = context.var;
  const { keys, keyFile, modelName, extension, adapterFolder, runFolders } = server;
  const authorization = authorizationOf(context);
  // a key that was revoked since is no key
  const key =
    authorization === undefined
      ? undefined
      : await authenticate(server, authorization).catch(() => undefined);
  const hasService = extension !== undefined;
  const isAdmin = seesAll(server, key);
  return {
    version,
    model: modelName,
    needsKey: keys !== undefined,
    signedIn: keys !== undefined && key !== undefined,
    /** Whether the browser has a key that is none any more. */
    isRefused: authorization !== undefined && key === undefined,
    /** Whose session this is. */
    tenant: keys === undefined ? null : (key?.name ?? null),
    /** Whether everybody's runs and the system may be seen. */
    isAdmin,
    /** Whether the quickstart's data can be trained on. */
    example: hasService,
    features: {
      service: hasService,
      runs: runFolders !== undefined || extension?.runs !== undefined,
      keys: keyFile !== undefined && isAdmin,
      adapters: adapterFolder !== undefined,
    },
  };
}

/** @throws ApiError 403 for requests of anything but this server's own page. */
function checkOwnPage(context: RequestContext): void {
  checkSite(context.req);
  if (!isOwnPage(context))
    throw forbidden(
      "only the studio's page sends such requests; send those of the API, with the key in the header Authorization",
      "wrong_site",
    );
}

export function studioRoutes(app: ServerApp): void {
  app.use("/studio/*", async (context, next) => {
    for (const [name, value] of Object.entries(HEADERS)) context.header(name, value);
    await next();
  });
  // relative: a proxy may have put the server below a path
  app.get("/studio", (context) => {
    studioOf(context);
    return context.redirect("studio/");
  });
  app.get("/studio/config.json", async (context) => {
    context.header("cache-control", "no-store");
    return context.json(await settings(context, studioOf(context)));
  });
  app.post("/studio/session", jsonBody, async (context) => {
    studioOf(context);
    checkOwnPage(context);
    const body = sessionBody.safeParse(await context.req.json());
    if (!body.success)
      throw new ApiError("key is not an API key", { status: 400, code: "invalid_value", param: "key" });
    const { server, record } = context.var;
    const { key } = body.data;
    const found = await authenticate(server, `Bearer ${key}`);
    record.keyName = found.name;
    const isOpen = server.keys === undefined;
    if (!isOpen) beginSession(context, key);
    context.header("cache-control", "no-store");
    return context.json({ tenant: isOpen ? null : found.name, isAdmin: seesAll(server, found) });
  });
  app.delete("/studio/session", (context) => {
    checkOwnPage(context);
    endSession(context);
    return context.json({ tenant: null, isAdmin: context.var.server.keys === undefined });
  });
  app.get("/studio/:path{.*}", (context) => sendFile(context, studioOf(context)));
}
