// /v1/feedback: what people said of stored answers, and its export as training data.
import { z } from "@hono/zod-openapi";
import { ApiError, deleted, optional, storedConversation } from "mixture-of-shards/server";
import { type Lesson, lessonSchema } from "mixture-of-shards-core/learning";
import { type FeedbackRow, toLimits } from "#store";
import { tooLarge } from "./forms.ts";
import { consentOf } from "./lessons.ts";
import { type AddRoutes, addRoute, sendLines, toObject } from "./routes.ts";

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
    hint: optional(z.string().min(1).max(MAX_CORRECTION), "A remark: what a better answer heeds."),
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
    hint: z.string().nullable(),
    lesson_id: z
      .string()
      .nullable()
      .describe("The lesson that it became, where its key allows lessons and it says what to learn."),
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

async function* allLines(rows: AsyncIterable<FeedbackRow>): AsyncGenerator<string, void> {
  for await (const row of rows) yield toLines(row);
}

type Said = Pick<FeedbackRow, "id" | "rating" | "correction" | "hint">;
type Conversation = NonNullable<Awaited<ReturnType<typeof storedConversation>>>;

/** What feedback teaches; undefined where it does not say what is right, and for answers that are more than text. */
function toLesson(
  { id, rating, correction, hint }: Said,
  { prompt, completion }: Conversation,
  created_at: number,
): Lesson | undefined {
  const given = completion.length === 1 ? completion[0]?.content : undefined;
  const wanted = correction ?? (rating === "up" ? given : undefined);
  const kind = correction !== null ? "correction" : hint !== null ? "remark" : "thumb";
  const lesson = {
    messages: wanted === undefined ? prompt : [...prompt, { role: "assistant", content: wanted }],
    hint: hint ?? undefined,
    // left out where it is none of a lesson, such as an empty one: what is wanted is learnt all the same
    rejected_response:
      rating === "down" && given !== wanted
        ? lessonSchema.shape.rejected_response.safeParse(given).data
        : undefined,
    source: { kind, id, created_at },
  };
  return lessonSchema.safeParse(lesson).data;
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
    answer: async ({ body, server, key }) => {
      const { response_id: id, rating, correction = null, hint = null } = body;
      const { name: tenant } = key;
      const found = server.responses && (await storedConversation(server.responses, { tenant, id }));
      if (found === undefined)
        throw new ApiError(
          `the response ${JSON.stringify(id)} is not stored; rate answers of /v1/responses that were sent without store: false`,
          { status: 404, code: "not_found", param },
        );
      const [prompt, completion] = [JSON.stringify(found.prompt), JSON.stringify(found.completion)];
      const said = { id, rating, correction, hint };
      const consent = consentOf({ server, key });
      const row = await feedback
        .put({
          ...{ tenant, ...said, model: found.model, prompt, completion, days: consent?.days },
          maxStorageBytes: toLimits(key).max_storage_bytes,
          lesson: consent && toLesson(said, found, Math.floor(server.date() / 1000)),
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
    answer: async ({ owner, context }) =>
      sendLines(context, allLines(feedback.all(owner.tenant)), "feedback.jsonl"),
  });
  addRoute(app, {
    method: "delete",
    path: `${path}/{response_id}`,
    summary: "Delete the feedback on a response, and its lesson",
    params: z.object({ response_id: z.string().max(200) }),
    ok: [deleted.schema("feedback"), "The feedback was deleted."],
    param,
    answer: async ({ params: { response_id: id }, owner }) => {
      await feedback.delete(owner.tenant, id);
      return deleted.json("feedback", id);
    },
  });
};
