// The OpenAPI document, from the schemas that requests are checked with.
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { chatRequest } from "./chat-schema.ts";
import { completionRequest } from "./completion-schema.ts";
import type { ServerEnv } from "./context.ts";
import { uploadRequest } from "./read-upload.ts";

const errorAnswer = z
  .object({
    error: z.object({
      message: z.string(),
      type: z.string(),
      param: z.string().nullable(),
      code: z.string().nullable(),
    }),
  })
  .openapi("Error");

const model = z
  .object({
    id: z.string(),
    object: z.literal("model"),
    created: z.int(),
    owned_by: z.string(),
    root: z.string(),
    parent: z.string().nullable(),
  })
  .openapi("Model");

const adapter = z
  .object({
    id: z.string(),
    object: z.literal("adapter"),
    created: z.int(),
    digest: z.string(),
    method: z.string(),
    rank: z.int(),
    resident_bytes: z.int(),
  })
  .openapi("Adapter");

const usage = z
  .object({ prompt_tokens: z.int(), completion_tokens: z.int(), total_tokens: z.int() })
  .openapi("Usage");

const finish = z.enum(["stop", "length"]);
const answerHead = {
  id: z.string(),
  created: z.int(),
  model: z.string(),
  system_fingerprint: z.string().nullable().describe("Digest of the adapter's content; null for the base."),
  usage,
};

const chatAnswer = z
  .object({
    ...answerHead,
    object: z.literal("chat.completion"),
    choices: z.array(
      z.object({
        index: z.int(),
        message: z.object({ role: z.literal("assistant"), content: z.string(), refusal: z.null() }),
        logprobs: z.object({ content: z.array(z.unknown()), refusal: z.null() }).nullable(),
        finish_reason: finish,
      }),
    ),
  })
  .openapi("ChatAnswer");

const completionAnswer = z
  .object({
    ...answerHead,
    object: z.literal("text_completion"),
    choices: z.array(
      z.object({
        index: z.int(),
        text: z.string(),
        logprobs: z
          .object({
            tokens: z.array(z.string()),
            token_logprobs: z.array(z.number().nullable()),
            top_logprobs: z.array(z.record(z.string(), z.number()).nullable()),
            text_offset: z.array(z.int()),
          })
          .nullable(),
        finish_reason: finish,
      }),
    ),
  })
  .openapi("CompletionAnswer");

const list = <T extends z.ZodType>(items: T) => z.object({ object: z.literal("list"), data: z.array(items) });
const json = <T extends z.ZodType>(schema: T) => ({ "application/json": { schema } });
const ok = <T extends z.ZodType>(schema: T, description: string) => ({
  content: json(schema),
  description,
});
const failed = { content: json(errorAnswer), description: "An error in OpenAI's form." };
const state = (...statuses: readonly [string, ...string[]]) => z.object({ status: z.enum(statuses) });
const security = [{ key: [] }];

const streamed = <T extends z.ZodType>(schema: T) => ({
  description: "The answer, or with stream: true its parts as server-sent events that end with [DONE].",
  content: { ...json(schema), "text/event-stream": { schema: z.string() } },
});

const ROUTES = [
  createRoute({
    method: "post",
    path: "/v1/chat/completions",
    summary: "Answer a conversation",
    security,
    request: { body: { required: true, content: json(chatRequest) } },
    responses: { 200: streamed(chatAnswer), default: failed },
  }),
  createRoute({
    method: "post",
    path: "/v1/completions",
    summary: "Continue or score texts",
    security,
    request: { body: { required: true, content: json(completionRequest) } },
    responses: { 200: streamed(completionAnswer), default: failed },
  }),
  createRoute({
    method: "get",
    path: "/v1/models",
    summary: "The base and the adapters that the key may use",
    security,
    responses: { 200: ok(list(model), "All models."), default: failed },
  }),
  createRoute({
    method: "get",
    path: "/v1/models/{model}",
    summary: "One of them",
    security,
    request: { params: z.object({ model: z.string() }) },
    responses: { 200: ok(model, "The model."), default: failed },
  }),
  createRoute({
    method: "get",
    path: "/v1/adapters",
    summary: "The adapters that the key may use, with their sizes",
    security,
    responses: { 200: ok(list(adapter), "All adapters."), default: failed },
  }),
  createRoute({
    method: "post",
    path: "/v1/adapters",
    summary: "Add or replace an adapter (administrators)",
    security,
    request: {
      body: {
        required: true,
        content: {
          ...json(uploadRequest),
          "multipart/form-data": {
            schema: z.object({
              name: z.string(),
              adapter_config: z.string().openapi({ format: "binary" }),
              adapter_model: z.string().openapi({ format: "binary" }),
            }),
          },
        },
      },
    },
    responses: { 201: ok(adapter, "The adapter as it is served now."), default: failed },
  }),
  createRoute({
    method: "delete",
    path: "/v1/adapters/{name}",
    summary: "Remove an adapter (administrators)",
    security,
    request: { params: z.object({ name: z.string() }) },
    responses: {
      200: ok(
        z.object({ id: z.string(), object: z.literal("adapter"), deleted: z.literal(true) }),
        "It is gone; requests that run with it end as they began.",
      ),
      default: failed,
    },
  }),
  createRoute({
    method: "get",
    path: "/health",
    summary: "Whether the process is up, and its engine",
    responses: { 200: ok(state("up"), "It is."), 503: ok(state("broken"), "The engine is gone.") },
  }),
  createRoute({
    method: "get",
    path: "/ready",
    summary: "Whether requests are taken",
    responses: {
      200: ok(state("ready"), "They are."),
      503: ok(state("draining", "broken"), "They are not."),
    },
  }),
  createRoute({
    method: "get",
    path: "/metrics",
    summary: "Counts and times for Prometheus (administrators)",
    security,
    responses: {
      200: { description: "Prometheus' text format.", content: { "text/plain": { schema: z.string() } } },
      default: failed,
    },
  }),
];

/** The document, made once. */
export function openApiDocument(app: OpenAPIHono<ServerEnv>): object {
  for (const route of ROUTES) app.openAPIRegistry.registerPath(route);
  app.openAPIRegistry.registerComponent("securitySchemes", "key", { type: "http", scheme: "bearer" });
  return app.getOpenAPI31Document({
    openapi: "3.1.0",
    info: {
      title: "mixture-of-shards",
      version: "1",
      description: "A base model and its adapters by OpenAI's API. The adapter is the model of a request.",
    },
  });
}

const escaped = (text: string): string => text.replace(/[&<>"]/g, (letter) => `&#${letter.codePointAt(0)};`);

/** The routes as a page that loads nothing from elsewhere. */
export function docsPage(modelName: string): string {
  const rows = ROUTES.map(
    ({ method, path, summary }) =>
      `<tr><td><code>${method.toUpperCase()} ${escaped(path)}</code></td><td>${escaped(summary)}</td></tr>`,
  );
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>mos serve</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}td{padding:.2rem 1rem .2rem 0;vertical-align:top}</style>
</head><body><h1>mos serve</h1><p>The base model is <code>${escaped(modelName)}</code>; <code>GET /v1/models</code> lists
the adapters. Fields of requests and answers: <a href="/openapi.json">openapi.json</a>.</p>
<table>${rows.join("\n")}</table></body></html>\n`;
}
