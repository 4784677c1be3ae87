// What people said of answers: each with its own copy of prompt and answer, by tenant, within bytes. Older ones give way.
import { lessonId } from "mixture-of-shards-core/learning";
import { z } from "zod";
import { type Database, lockTenant, type Queryable, queryRows, removeOldest, removeRow } from "#database";
import { assertStorageQuota } from "./contents.ts";
import { type NewLesson, putLesson } from "./lessons.ts";

/** Bytes of prompts and answers that a tenant has at most. */
const MAX_BYTES = 256_000_000;
/** Rows that an export reads at once. */
const PAGE = 100;

const rows = {
  name: "feedback",
  item: "feedback on the response",
  schema: z.object({
    id: z.string(),
    model: z.string(),
    rating: z.enum(["up", "down"]),
    prompt: z.string(),
    completion: z.string(),
    correction: z.string().nullable(),
    hint: z.string().nullable(),
    created_at: z.date(),
    number: z.coerce.number(),
  }),
};

/** Feedback on one answer. */
export type FeedbackRow = z.output<typeof rows.schema>;

export interface NewFeedback
  extends Pick<FeedbackRow, "id" | "model" | "rating" | "prompt" | "completion" | "correction" | "hint">,
    Pick<NewLesson, "tenant" | "maxStorageBytes" | "days"> {
  /** What it teaches, where the key allows lessons. */
  readonly lesson?: NewLesson["lesson"] | undefined;
}

const COLUMNS = "id, model, rating, prompt, completion, correction, hint, created_at, number";

/** Feedback in a database whose tables are there. */
export const openFeedback = (database: Database) => ({
  /**
   * Keeps feedback on an answer, in place of what was said of it before.
   *
   * @throws MosError `busy` where the tenant's files, feedback and lessons would take more than they may.
   */
  put: (feedback: NewFeedback) => database.transaction((transaction) => put(transaction, feedback)),

  /** Deletes feedback with its lesson. @throws MosError `not_found` where there is none. */
  delete: (tenant: string, id: string): Promise<void> =>
    database.transaction(async (on) => {
      await lockTenant(on, tenant);
      await removeRow(on, rows, { owner: { tenant, isAdmin: false }, id });
    }),

  /** All of a tenant's, the oldest first. */
  async *all(tenant: string): AsyncGenerator<FeedbackRow, void> {
    for (let last = 0; ; ) {
      const text = `select ${COLUMNS} from feedback where tenant = $1 and number > $2 order by number limit ${PAGE}`;
      const page = await queryRows(database, rows, text, [tenant, last]);
      yield* page;
      last = page.at(-1)?.number ?? last;
      if (page.length < PAGE) return;
    }
  },
});

/** Prompt and answer stay as they are when they are rated again: only what changes is written, in place. */
async function put(on: Queryable, feedback: NewFeedback) {
  const { tenant, id, model, rating, prompt, completion, correction, hint, lesson } = feedback;
  const { maxStorageBytes: most } = feedback;
  const bytes = Buffer.byteLength(`${prompt}${completion}${correction ?? ""}${hint ?? ""}`);
  const taught = lesson === undefined ? null : lessonId(lesson);
  await lockTenant(on, tenant);
  // of what was said before
  const outdated = "delete from lessons where tenant = $1 and response = $2 and id is distinct from $3";
  await on.query(outdated, [tenant, id, taught]);
  const [before] = await on.query("select bytes from feedback where tenant = $1 and id = $2", [tenant, id]);
  const more = bytes - Number(before?.["bytes"] ?? 0);
  if (more > 0 && most !== undefined) await assertStorageQuota(on, tenant, { bytes: more, most });
  const [row] = await queryRows(
    on,
    rows,
    `insert into feedback (tenant, id, model, rating, prompt, completion, correction, hint, bytes, lesson)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
     on conflict (tenant, id) do update set rating = excluded.rating, hint = excluded.hint, bytes = excluded.bytes,
       lesson = excluded.lesson, created_at = now(),
       -- as it is, so that one which stays is not written again
       correction = case when feedback.correction = excluded.correction then feedback.correction
         else excluded.correction end
     returning ${COLUMNS}`,
    [tenant, id, model, rating, prompt, completion, correction, hint, bytes, taught],
  );
  if (more > 0) await removeOldest(on, rows, { tenant, bytes: MAX_BYTES });
  if (lesson !== undefined) await putLesson(on, { ...feedback, lesson, response: id });
  return { ...(row as FeedbackRow), lesson_id: taught };
}
