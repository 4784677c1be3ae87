// Several requests of the studio's page over one connection: a browser without HTTP/2 opens six of them to a server, and a
// comparison has seven answers that are made in one batch.
import { z } from "@hono/zod-openapi";
import { streamEvents } from "./answer.ts";
import { mergeEvents } from "./choices.ts";
import type { RequestContext, ServerApp } from "./context.ts";
import { ApiError } from "./errors.ts";

/** Requests of one connection. */
const MOST = 8;

const togetherBody = z.strictObject({
  requests: z
    .array(
      z.strictObject({
        path: z.enum(["/v1/chat/completions", "/v1/completions"]),
        body: z.record(z.string(), z.unknown()),
      }),
    )
    .min(1)
    .max(MOST),
});

type Requests = z.output<typeof togetherBody>["requests"];

/** A part of one answer: its head, some of its text, or its end, which is not whole where the server has cut it off. */
type Part =
  | { readonly status: number; readonly headers: Readonly<Record<string, string>> }
  | { readonly text: string }
  | { readonly end: "whole" | "cut" };

/** Headers of an answer that the page reads. */
const READ = ["content-type", "retry-after", "x-request-id"];

/** Sends each request through the whole app, as if it had come alone, and streams the parts of their answers as they come. */
export async function answerTogether(app: ServerApp, context: RequestContext): Promise<Response> {
  const parsed = togetherBody.safeParse(await context.req.json());
  if (!parsed.success)
    throw new ApiError(`requests must be 1 to ${MOST} requests for completions, each with path and body`, {
      status: 400,
      code: "invalid_value",
      param: "requests",
    });
  const sources = parsed.data.requests.map(
    (request) => (signal: AbortSignal) => readParts(app, context, { request, signal }),
  );
  const { signal } = context.req.raw;
  return streamEvents(context, numbered(mergeEvents(sources, { atOnce: MOST, signal }).events()));
}

async function* numbered(
  parts: AsyncIterable<readonly [index: number, part: Part]>,
): AsyncGenerator<object, void> {
  for await (const [index, part] of parts) yield { index, ...part };
}

async function* readParts(
  app: ServerApp,
  { req }: RequestContext,
  { request: { path, body }, signal }: { readonly request: Requests[number]; readonly signal: AbortSignal },
): AsyncGenerator<Part, void> {
  const headers = new Headers(req.raw.headers);
  headers.delete("content-length");
  const init = { method: "POST", headers, body: JSON.stringify(body), signal };
  const answer = await app.fetch(new Request(new URL(path, req.url), init));
  const read = READ.flatMap((name) => {
    const value = answer.headers.get(name);
    return value === null ? [] : [[name, value] as const];
  });
  yield { status: answer.status, headers: Object.fromEntries(read) };
  try {
    const decoder = new TextDecoder();
    for await (const chunk of answer.body ?? []) yield { text: decoder.decode(chunk, { stream: true }) };
    yield { end: "whole" };
  } catch {
    yield { end: "cut" };
  }
}
