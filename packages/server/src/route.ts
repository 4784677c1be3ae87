// Routes as values: what the API's document says of each, and its work; and the schemas that several routes share.
import { createRoute, type RouteConfig, z } from "@hono/zod-openapi";
import type { MiddlewareHandler } from "hono";
import { omitUndefined } from "mixture-of-shards-core/common";
import type { RequestContext, ServerApp, ServerEnv } from "./context.ts";
import { checkedBy, jsonBody, optional } from "./request.ts";

/** Adds a route to a server. */
export type AddRoute = (app: ServerApp) => void;

/** A request whose parts were checked, with the variables of its context. */
export type Call<Params, Query, Body> = RequestContext["var"] & {
  readonly params: z.output<Params>;
  readonly query: z.output<Query>;
  readonly body: z.output<Body>;
  readonly context: RequestContext;
};

/** A route that asks for a key. */
export interface Route<Params, Query, Body, Answer> {
  readonly method: "get" | "post" | "put" | "patch" | "delete";
  readonly path: string;
  readonly summary: string;
  readonly description?: string;
  readonly params?: Params;
  readonly query?: Query;
  readonly headers?: z.ZodObject;
  /** The schema of a JSON body. */
  readonly body?: Body;
  /** Runs first: reads the body (`jsonBody`). */
  readonly middleware?: MiddlewareHandler<ServerEnv> | MiddlewareHandler<ServerEnv>[] | undefined;
  /** Schema, description and status (200) of the answer; left out, there are only errors. */
  readonly ok?: readonly [schema: Answer, description: string, status?: 201];
  /** The media type of an answer that is not JSON, and other answers with the same status, by their media types. */
  readonly type?: string;
  readonly also?: Readonly<Record<string, z.ZodType>>;
  /** Answers of other statuses; `default` is an error in OpenAI's format, unless it stands here. */
  readonly responses?: RouteConfig["responses"];
  /** Gives the body of the answer, or all of it. */
  readonly answer: (call: Call<Params, Query, Body>) => Promise<z.output<Answer> | Response>;
}

/**
 * A route as its declaration says.
 *
 * @example
 * route({ method: "get", path: "/v1/runs", summary: "List runs", ok: [runs, "The runs."], answer: async () => found });
 */
export const route =
  <Params extends z.ZodType, Query extends z.ZodType, Body extends z.ZodObject, Answer extends z.ZodType>(
    given: Route<Params, Query, Body, Answer>,
  ): AddRoute =>
  (app) => {
    const { params, query, headers, body, middleware = body && jsonBody, answer, ...more } = given;
    const { ok: answered, type = "application/json", also = {}, responses, ...declared } = more;
    const [schema, description = "", status = 200] = answered ?? [];
    const types = Object.entries({ ...(schema && { [type]: schema }), ...also });
    const content = Object.fromEntries(types.map(([name, each]) => [name, { schema: each }]));
    const request = { params, query, headers, body: body && { required: true, content: json(body) } };
    const handle = async (context: RequestContext): Promise<Response> => {
      const valid = (part: string) => context.req.valid(part as never) as never;
      const parts = { params: valid("param"), query: valid("query"), body: valid("json"), context };
      const made = await answer({ ...context.var, ...parts });
      return made instanceof Response ? made : context.json(made, status);
    };
    app.openapi(
      apiRoute({
        ...declared,
        ...omitUndefined({ middleware }),
        request: omitUndefined(request) as object,
        responses: { ...(schema && { [status]: { description, content } }), ...responses },
      }),
      handle as never, // whose type knows no schemas
      body && checkedBy(body),
    );
  };

const error = z
  .object({
    error: z.object({
      message: z.string(),
      type: z.string(),
      param: z.string().nullable(),
      code: z.string().nullable(),
    }),
  })
  .openapi("Error");

/** What the API's document has in common for routes that ask for a key. */
export const apiRoute = <P extends string, R extends Omit<RouteConfig, "path"> & { path: P }>(declared: R) =>
  createRoute({
    ...declared,
    security: [{ key: [] }, { apiKey: [] }],
    responses: {
      default: ok(error, "An error in OpenAI's format."),
      ...declared.responses,
    },
  });

const json = <T extends z.ZodType>(schema: T) => ({ "application/json": { schema } });

/** A JSON answer. */
export const ok = <T extends z.ZodType>(schema: T, description: string) => ({
  content: json(schema),
  description,
});

/** The id in the path of a route. */
export const idParams = z.object({ id: z.string().max(200) });

/** A whole number as a query or a form has it: decimal digits and nothing else, neither 0x10 nor 1e3 nor a blank. */
export const wholeNumber = (least: number, most: number) =>
  z
    .string()
    .regex(/^\d{1,15}$/, `a whole number from ${least} to ${most}`)
    .transform(Number)
    .pipe(z.int().min(least).max(most))
    .openapi({ type: "integer", minimum: least, maximum: most });

/** Lists of the API in pages: the `after` and `limit` of a query, the schema of a page, and a page as JSON. */
export const pages = {
  query: (limits: { readonly standard: number; readonly most: number }) => ({
    after: optional(z.string().max(200), "Last id of the previous page."),
    limit: wholeNumber(1, limits.most).default(limits.standard),
  }),
  schema: <T extends z.ZodType>(item: T) =>
    z.object({
      object: z.literal("list"),
      data: z.array(item),
      first_id: z.string().nullable(),
      last_id: z.string().nullable(),
      has_more: z.boolean(),
    }),
  json: <T extends { readonly id: string }>(data: readonly T[], hasMore: boolean) => ({
    object: "list" as const,
    data: [...data],
    first_id: data[0]?.id ?? null,
    last_id: data.at(-1)?.id ?? null,
    has_more: hasMore,
  }),
};

/** The answer to DELETE, as OpenAI has it: its schema, and its body. */
export const deleted = {
  schema: <T extends string>(object: T) =>
    z.object({ id: z.string(), object: z.literal(object), deleted: z.literal(true) }),
  json: <T extends string>(object: T, id: string) => ({ id, object, deleted: true as const }),
};
