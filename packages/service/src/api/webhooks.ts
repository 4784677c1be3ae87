// /v1/webhooks: where a tenant is told that its jobs have ended.
import { createRoute, z } from "@hono/zod-openapi";
import { checkedBy, failed, ok, security } from "mixture-of-shards/server";
import { webhookEvents } from "#store";
import { isPrivateHost, urlPort } from "#webhooks";
import {
  deliverySchema,
  pageQuery,
  pageSchema,
  toDeliveryObject,
  toListObject,
  toWebhookObject,
  webhookSchema,
} from "./serializers.ts";
import { type AddRoutes, invalid, toOwner, withHttpErrors } from "./service-env.ts";
import { storedBody } from "./stored-body.ts";

const path = "/v1/webhooks";
const params = z.object({ id: z.string().max(200) });

const newWebhookSchema = z
  .strictObject({
    url: z.url({ protocol: /^https?$/, error: "an http or https URL" }).max(2000),
    events: z
      .array(z.enum(webhookEvents))
      .min(1)
      .default([...webhookEvents]),
    description: z.string().max(500).nullish(),
  })
  .openapi("WebhookRequest");

const addRoute = createRoute({
  method: "post",
  path,
  summary: "Create a webhook",
  description:
    "The webhook is called when a job of the tenant ends. Only this response contains its signing secret.",
  security,
  middleware: storedBody,
  request: { body: { content: { "application/json": { schema: newWebhookSchema } } } },
  responses: {
    200: ok(webhookSchema.extend({ secret: z.string() }), "The webhook with its secret."),
    default: failed,
  },
});

const listRoute = createRoute({
  method: "get",
  path,
  summary: "List webhooks",
  security,
  request: { query: z.object(pageQuery({ standard: 20, most: 100 })) },
  responses: { 200: ok(pageSchema(webhookSchema), "A page of webhooks, newest first."), default: failed },
});

const getRoute = createRoute({
  method: "get",
  path: `${path}/{id}`,
  summary: "Retrieve a webhook with its last delivery",
  security,
  request: { params },
  responses: {
    200: ok(webhookSchema.extend({ last_delivery: deliverySchema.nullable() }), "The webhook."),
    default: failed,
  },
});

const removeRoute = createRoute({
  method: "delete",
  path: `${path}/{id}`,
  summary: "Delete a webhook and its pending deliveries",
  security,
  request: { params },
  responses: {
    200: ok(
      z.object({ id: z.string(), object: z.literal("webhook"), deleted: z.literal(true) }),
      "The webhook was deleted.",
    ),
    default: failed,
  },
});

const testRoute = createRoute({
  method: "post",
  path: `${path}/{id}/test`,
  summary: "Send a test event for the job ftjob-test",
  security,
  request: { params },
  responses: { 200: ok(deliverySchema, "The delivery, which is being attempted."), default: failed },
});

const deliveriesRoute = createRoute({
  method: "get",
  path: `${path}/{id}/deliveries`,
  summary: "List the deliveries of the last 30 days",
  security,
  request: { params, query: z.object(pageQuery({ standard: 20, most: 100 })) },
  responses: { 200: ok(pageSchema(deliverySchema), "A page of deliveries, newest first."), default: failed },
});

/** @throws ApiError 400 for a URL that this client may not name. */
function checkedUrl(
  text: string,
  { allowsPrivate, ports }: { readonly allowsPrivate: boolean; readonly ports: readonly number[] },
): string {
  const url = new URL(text);
  if (url.username !== "" || url.password !== "")
    throw invalid("url: must not contain a user or password", "url");
  if (!allowsPrivate && isPrivateHost(url))
    throw invalid(`url: ${url.hostname} is not a public address, which only administrators may use`, "url");
  if (!allowsPrivate && !ports.includes(urlPort(url)))
    throw invalid(`url: port ${urlPort(url)} is not allowed for webhooks; use ${ports.join(", ")}`, "url");
  url.hash = "";
  return url.href;
}

export const webhookRoutes: AddRoutes = (app, { jobs, webhookPorts }) => {
  app.openapi(
    addRoute,
    async (context) => {
      const { key, server } = context.var;
      const { url, events, description = null } = context.req.valid("json");
      // where there are no keys, whoever reaches the port is of this network
      const allowsPrivate = key.isAdmin || server.keys === undefined;
      const webhook = await withHttpErrors(
        jobs.addWebhook({
          tenant: key.name,
          url: checkedUrl(url, { allowsPrivate, ports: webhookPorts }),
          description,
          allowsPrivate,
          events: [...new Set(events)],
        }),
      );
      return context.json({ ...toWebhookObject(webhook), secret: webhook.secret }, 200);
    },
    checkedBy(newWebhookSchema),
  );
  app.openapi(listRoute, async (context) => {
    const page = jobs.webhooks(toOwner(context.var.key), context.req.valid("query"));
    const { rows, hasMore } = await withHttpErrors(page, "after");
    return context.json(toListObject(rows.map(toWebhookObject), hasMore), 200);
  });
  app.openapi(getRoute, async (context) => {
    const webhook = await withHttpErrors(
      jobs.webhook(toOwner(context.var.key), context.req.valid("param").id),
    );
    const [last] = (await withHttpErrors(jobs.deliveries(webhook, { limit: 1 }))).rows;
    const last_delivery = last === undefined ? null : toDeliveryObject(last);
    return context.json({ ...toWebhookObject(webhook), last_delivery }, 200);
  });
  app.openapi(removeRoute, async (context) => {
    const { id } = context.req.valid("param");
    await withHttpErrors(jobs.removeWebhook(toOwner(context.var.key), id));
    return context.json({ id, object: "webhook" as const, deleted: true as const }, 200);
  });
  app.openapi(testRoute, async (context) => {
    const webhook = await withHttpErrors(
      jobs.webhook(toOwner(context.var.key), context.req.valid("param").id),
    );
    return context.json(toDeliveryObject(await withHttpErrors(jobs.testWebhook(webhook))), 200);
  });
  app.openapi(deliveriesRoute, async (context) => {
    const webhook = await withHttpErrors(
      jobs.webhook(toOwner(context.var.key), context.req.valid("param").id),
    );
    const { rows, hasMore } = await withHttpErrors(
      jobs.deliveries(webhook, context.req.valid("query")),
      "after",
    );
    return context.json(toListObject(rows.map(toDeliveryObject), hasMore), 200);
  });
};
