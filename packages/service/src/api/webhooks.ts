// /v1/webhooks: where tenants are notified of the ends of their jobs.
import { z } from "@hono/zod-openapi";
import { deleted, pages, idParams as params } from "mixture-of-shards/server";
import { type DeliveryRow, type WebhookRow, webhookEvents } from "#store";
import { isPrivateHost, urlPort } from "#webhooks";
import { type AddRoutes, addRoute, invalid, pageOf, secondsOrNull, toObject } from "./routes.ts";

/** A webhook, without its secret. */
const webhookSchema = z
  .object({
    id: z.string(),
    object: z.literal("webhook"),
    created_at: z.int(),
    organization_id: z.string(),
    url: z.string(),
    description: z.string().nullable(),
    events: z.array(z.string()),
    status: z.enum(["enabled", "disabled"]),
  })
  .openapi("Webhook");

const toWebhookObject = (webhook: WebhookRow) =>
  toObject(webhookSchema, webhook, {
    organization_id: webhook.tenant,
    status: webhook.disabled_at === null ? "enabled" : "disabled",
  });

/** A delivery of a webhook. */
const deliverySchema = z
  .object({
    id: z.string(),
    object: z.literal("webhook.delivery"),
    created_at: z.int(),
    event: z.string().describe("The webhook-id header, the same for all attempts."),
    type: z.string(),
    data: z.object({ id: z.string() }),
    status: z.enum(["waiting", "delivered", "failed"]),
    attempts: z.int(),
    next_attempt_at: z.int().nullable(),
    response_status: z.int().nullable().describe("HTTP status of the last attempt."),
    error: z.string().nullable(),
    finished_at: z.int().nullable(),
  })
  .openapi("WebhookDelivery");

const toDeliveryObject = ({ job, due_at, ...delivery }: DeliveryRow) =>
  toObject(deliverySchema, delivery, { data: { id: job }, next_attempt_at: secondsOrNull(due_at) });

const path = "/v1/webhooks";
const query = z.object(pages.query({ standard: 20, most: 100 }));

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

export const webhookRoutes: AddRoutes = (app, service) => {
  const { webhooks, webhookPorts } = service;
  addRoute(app, {
    method: "post",
    path,
    summary: "Create a webhook",
    description:
      "The webhook is called when a job of the tenant ends. Only this response contains its signing secret.",
    body: newWebhookSchema,
    ok: [webhookSchema.extend({ secret: z.string() }), "The webhook with its secret."],
    answer: async ({ body: { url, events, description = null }, key, server }) => {
      // without keys, every client of the port is in this network
      const allowsPrivate = key.isAdmin || server.keys === undefined;
      const webhook = await webhooks.add({
        tenant: key.name,
        url: checkedUrl(url, { allowsPrivate, ports: webhookPorts }),
        description,
        allowsPrivate,
        events: [...new Set(events)],
      });
      return { ...toWebhookObject(webhook), secret: webhook.secret };
    },
  });
  otherRoutes(app, service);
};

/** Webhooks that are there, and their deliveries. */
const otherRoutes: AddRoutes = (app, { webhooks }) => {
  addRoute(app, {
    method: "get",
    path,
    summary: "List webhooks",
    query,
    ok: [pages.schema(webhookSchema), "A page of webhooks, newest first."],
    answer: async ({ query, owner }) => pageOf(await webhooks.list(owner, query), toWebhookObject),
  });
  addRoute(app, {
    method: "get",
    path: `${path}/{id}`,
    summary: "Retrieve a webhook with its last delivery",
    params,
    ok: [webhookSchema.extend({ last_delivery: deliverySchema.nullable() }), "The webhook."],
    answer: async ({ params: { id }, owner }) => {
      const webhook = await webhooks.find(owner, id);
      const [last] = (await webhooks.deliveries(webhook, { limit: 1 })).rows;
      return {
        ...toWebhookObject(webhook),
        last_delivery: last === undefined ? null : toDeliveryObject(last),
      };
    },
  });
  addRoute(app, {
    method: "delete",
    path: `${path}/{id}`,
    summary: "Delete a webhook and its pending deliveries",
    params,
    ok: [deleted.schema("webhook"), "The webhook was deleted."],
    answer: async ({ params: { id }, owner }) => {
      await webhooks.remove(owner, id);
      return deleted.json("webhook", id);
    },
  });
  addRoute(app, {
    method: "post",
    path: `${path}/{id}/test`,
    summary: "Send a test event for the job ftjob-test",
    params,
    ok: [deliverySchema, "The delivery, which is being attempted."],
    answer: async ({ params: { id }, owner }) =>
      toDeliveryObject(await webhooks.test(await webhooks.find(owner, id))),
  });
  addRoute(app, {
    method: "get",
    path: `${path}/{id}/deliveries`,
    summary: "List the deliveries of the last 30 days, at most 1,000",
    params,
    query,
    ok: [pages.schema(deliverySchema), "A page of deliveries, newest first."],
    answer: async ({ params: { id }, query, owner }) =>
      pageOf(await webhooks.deliveries(await webhooks.find(owner, id), query), toDeliveryObject),
  });
};
