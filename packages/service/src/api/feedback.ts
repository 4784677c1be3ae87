// /v1/feedback: what people said of stored answers, and its export as training data.
import { Readable } from "node:stream";
import { z } from "@hono/zod-openapi";
import { ApiError, deleted, optional, storedConversation } from "mixture-of-shards/server";
import { type FeedbackRow, toLimits } from "#store";
import { tooLarge } from "./forms.ts";
import { type AddRoutes, addRoute, toObject } from "./routes.ts";

const path = "/v1/feedback";
const MAX_CORRECTION = 100_000;

const feedbackRequest = z
  .strictObject({
    response_id: z
      .string()
      .min(1)
      .max(200)
      .describe("A response that is stored, as /v1/responses stores them."),
    rating: z.enum(["up", "down"]),
    correction: optional(z.string().min(1).max(MAX_CORRECTION), "The answer that it should have been."),
  })
  .openapi("CreateFeedbackRequest");

const feedbackSchema = z
  .object({
    id: z.string(),
    object: z.literal("feedback"),
    response_id: z.string(),
    model: z.string(),
    rating: z.enum(["up", "down"]),
    correction: z.string().nullable(),
    created_at: z.int(),
  })
  .openapi("Feedback");

/** The lines of one answer: itself, and what it should have been. */
function toLines({ prompt, completion, correction, rating }: FeedbackRow): string {
  const line = (answer: string, label: boolean): string =>
    `{"prompt":${prompt},"completion":${answer},"label":${label}}\n`;
  const corrected =
    correction === null ? "" : line(JSON.stringify([{ role: "assistant", content: correction }]), true);
  return line(completion, rating === "up") + corrected;
}

async function* toBytes(rows: AsyncIterable<FeedbackRow>): AsyncGenerator<Uint8Array, void> {
  const encoder = new TextEncoder();
  for await (const row of rows) yield encoder.encode(toLines(row));
}

const param = "response_id";

export const feedbackRoutes: AddRoutes = (app, { feedback }) => {
  addRoute(app, {
    method: "post",
    path,
    summary: "Rate a stored response, and perhaps correct it",
    description:
      "Keeps a copy of the conversation until it is deleted, beyond the days of the response itself: at most 256 MB for each key, of which the oldest give way. It counts as storage of the key. A second rating replaces the first.",
    body: feedbackRequest,
    ok: [feedbackSchema, "The feedback."],
    param,
    answer: async ({ body: { response_id: id, rating, correction = null }, server, key }) => {
      const { name: tenant } = key;
      const found = server.responses && (await storedConversation(server.responses, { tenant, id }));
      if (found === undefined)
        throw new ApiError(
          `the response ${JSON.stringify(id)} is not stored; rate answers of /v1/responses that were sent without store: false`,
          { status: 404, code: "not_found", param },
        );
      const [prompt, completion] = [JSON.stringify(found.prompt), JSON.stringify(found.completion)];
      const row = await feedback
        .put({
          ...{ tenant, id, model: found.model, rating, prompt, completion, correction },
          maxStorageBytes: toLimits(key).max_storage_bytes,
        })
        .catch(tooLarge(param));
      return toObject(feedbackSchema, row, { response_id: id });
    },
  });
  addRoute(app, {
    method: "get",
    path: `${path}/export`,
    summary: "Download all feedback as a training file for the objective kto",
    description:
      "Lines of prompt, completion and label. A correction is a line of its own, with the label true.",
    ok: [z.string().openapi({ format: "binary" }), "JSON Lines."],
    type: "application/octet-stream",
    answer: async ({ owner, context }) => {
      const body = Readable.toWeb(Readable.from(toBytes(feedback.all(owner.tenant))));
      return context.body(body as ReadableStream, 200, {
        "content-type": "application/octet-stream",
        "content-disposition": 'attachment; filename="feedback.jsonl"',
      });
    },
  });
  addRoute(app, {
    method: "delete",
    path: `${path}/{response_id}`,
    summary: "Delete the feedback on a response",
    params: z.object({ response_id: z.string().max(200) }),
    ok: [deleted.schema("feedback"), "The feedback was deleted."],
    param,
    answer: async ({ params: { response_id: id }, owner }) => {
      await feedback.delete(owner.tenant, id);
      return deleted.json("feedback", id);
    },
  });
};
