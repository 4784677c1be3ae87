// /v1/learning/lessons: what a tenant's people taught, and the checks that must stay right.
import { z } from "@hono/zod-openapi";
import { ApiError, deleted, optional, pages } from "mixture-of-shards/server";
import { isGradable, type Lesson, lessonSchema } from "mixture-of-shards-core/learning";
import { lessonKinds, type ShownLesson, toLimits } from "#store";
import { tooLarge } from "./forms.ts";
import { checkedGrader, ownApi } from "./graders.ts";
import {
  type AddRoutes,
  addRoute,
  type Context,
  invalid,
  pageOf,
  sendLines,
  tenantOf,
  tenantQuery,
  toObject,
} from "./routes.ts";

const path = "/v1/learning/lessons";

const kind = z
  .enum(lessonKinds)
  .describe("A lesson is to be learnt; a check is a question that has to stay right.");
const taught = lessonSchema.shape;

const lessonObject = z
  .object({
    id: z.string().describe("A digest of what it teaches."),
    object: z.literal("learning.lesson"),
    organization_id: z.string(),
    kind,
    enabled: z.boolean().describe("False: left out until somebody enables it."),
    contradicts: z
      .array(z.string())
      .readonly()
      .describe("Lessons that answer the same prompt otherwise; all of them are left out."),
    response_id: z
      .string()
      .nullable()
      .describe("The response with whose feedback it goes; null for checks and lessons added by hand."),
    created_at: z.int(),
    expires_at: z.int().nullable(),
    ...taught,
  })
  .openapi("Lesson");

const toLessonObject = ({ body, tenant, response, ...row }: ShownLesson) =>
  toObject(lessonObject, row, { ...body, organization_id: tenant, response_id: response });

const newLesson = lessonSchema
  .safeExtend({ kind: optional(kind, "lesson by default, or what it already is") })
  .openapi("CreateLessonRequest");
const change = z
  .strictObject({
    kind: kind.optional(),
    enabled: z.boolean().optional(),
    weight: taught.weight,
    held_out: taught.held_out,
  })
  .openapi("ChangeLessonRequest");

/** What the key of a request allows: days that lessons are kept, or for ever where the server has no keys; undefined for none. */
export function consentOf({
  server,
  key,
}: Pick<Context["var"], "server" | "key">): { readonly days: number | undefined } | undefined {
  const { learning_days: days } = toLimits(key);
  return days === undefined && server.keys !== undefined ? undefined : { days };
}

/** @throws ApiError 403 for a key that allows no lessons. */
function needConsent(variables: Pick<Context["var"], "server" | "key">) {
  const consent = consentOf(variables);
  if (consent !== undefined) return consent;
  throw new ApiError(
    "this key allows no lessons; make one with mos keys create --learning-days N, or add learning_days to its fine_tuning",
    { status: 403, code: "learning_not_allowed" },
  );
}

const idParams = z.object({ id: z.string().regex(/^[0-9a-f]{32}$/, "the id of a lesson") });

export const lessonRoutes: AddRoutes = (app, service) => {
  addListRoutes(app, service);
  addItemRoutes(app, service);
};

const addListRoutes: AddRoutes = (app, { lessons }) => {
  addRoute(app, {
    method: "post",
    path,
    summary: "Add a lesson or a check",
    description:
      "A line of training data: messages that end with the wanted answer, or a hint, or both. The same lesson is kept once.",
    body: newLesson,
    ok: [lessonObject, "The lesson."],
    answer: async ({ body: { kind, ...lesson }, owner: { tenant }, key, server, context }) => {
      const { days } = needConsent({ server, key });
      if (kind === "check" && !isGradable(lesson))
        throw invalid("a check needs an answer at the end of its messages, or a grader", "messages");
      if (lesson.grader !== undefined)
        await checkedGrader(lesson.grader, { api: ownApi(app, context, true) });
      const maxStorageBytes = toLimits(key).max_storage_bytes;
      const given = { tenant, lesson: lesson as Lesson, kind, days, maxStorageBytes };
      return toLessonObject(await lessons.put(given).catch(tooLarge("messages")));
    },
  });
  addRoute(app, {
    method: "get",
    path,
    summary: "List lessons and checks",
    query: tenantQuery.extend({
      ...pages.query({ standard: 20, most: 100 }),
      kind: kind.optional(),
      contradicted: optional(z.enum(["true", "false"]), "true: those that contradict others."),
    }),
    ok: [pages.schema(lessonObject), "A page, newest first."],
    answer: async ({ query: { contradicted, ...query }, key }) =>
      pageOf(
        await lessons.list(tenantOf(key, query), { ...query, contradicted: contradicted === "true" }),
        toLessonObject,
      ),
  });
  addRoute(app, {
    method: "get",
    path: `${path}/export`,
    summary: "Download all lessons or checks as a training file",
    description: "Those that are enabled. Lines with an answer are examples of `mos train`.",
    query: tenantQuery.extend({ kind: kind.default("lesson") }),
    ok: [z.string().openapi({ format: "binary" }), "JSON Lines."],
    type: "application/octet-stream",
    answer: async ({ query, key, context }) => {
      const all = await lessons.all(tenantOf(key, query));
      const own = all.filter((row) => row.kind === query.kind && row.enabled);
      return sendLines(
        context,
        own.map(({ body }) => `${JSON.stringify(body)}\n`),
        `${query.kind}s.jsonl`,
      );
    },
  });
};

const addItemRoutes: AddRoutes = (app, { lessons }) => {
  const one = { path: `${path}/{id}`, params: idParams, query: tenantQuery };
  addRoute(app, {
    ...one,
    method: "get",
    summary: "Retrieve a lesson",
    ok: [lessonObject, "The lesson."],
    answer: async ({ params: { id }, query, key }) =>
      toLessonObject(await lessons.find(tenantOf(key, query), id)),
  });
  addRoute(app, {
    ...one,
    method: "patch",
    summary: "Enable or disable a lesson, hold it out, or make it a check",
    description: "To decide a contradiction, disable or delete the lessons that are wrong.",
    body: change,
    ok: [lessonObject, "The lesson."],
    answer: async ({ params: { id }, query, body, key }) => {
      const tenant = tenantOf(key, query);
      const { body: lesson } = await lessons.find(tenant, id);
      if (body.kind === "check" && !isGradable(lesson))
        throw invalid("a lesson without an answer or a grader cannot be a check", "kind");
      return toLessonObject(await lessons.change(tenant, id, body).catch(tooLarge("kind")));
    },
  });
  addRoute(app, {
    ...one,
    method: "delete",
    summary: "Delete a lesson and all feedback that teaches it",
    description: "The stored response is deleted by its own route.",
    ok: [deleted.schema("learning.lesson"), "The lesson was deleted."],
    answer: async ({ params: { id }, query, key }) => {
      await lessons.remove(tenantOf(key, query), id);
      return deleted.json("learning.lesson", id);
    },
  });
};
