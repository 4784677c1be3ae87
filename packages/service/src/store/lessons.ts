// Lessons of a tenant: what its people want answered, and checks that must stay right. Deduplicated by what they teach, within
// bytes; older lessons give way to newer ones.
import {
  arrangeLessons,
  type Lesson,
  lessonId,
  parseLesson,
  promptKey,
} from "mixture-of-shards-core/learning";
import { z } from "zod";
import {
  type Database,
  findRow,
  type ListOptions,
  lockTenant,
  missing,
  type Page,
  type Queryable,
  queryRows,
  removeOldest,
  selectPage,
} from "#database";
import { assertStorageQuota } from "./contents.ts";

/** Bytes of a tenant's lessons at most, and of a lesson besides its text. */
const [MAX_BYTES, ROW_BYTES] = [64_000_000, 500];

export const lessonKinds = ["lesson", "check"] as const;

const rows = {
  name: "lessons",
  item: "lesson",
  schema: z.object({
    id: z.string(),
    tenant: z.string(),
    prompt: z.string(),
    kind: z.enum(lessonKinds),
    enabled: z.boolean(),
    response: z.string().nullable(),
    body: z.string().transform((body) => parseLesson(JSON.parse(body), "lessons")),
    created_at: z.date(),
    expires_at: z.date().nullable(),
    number: z.coerce.number(),
  }),
};

/** A lesson as it is kept. */
export type LessonRow = z.output<typeof rows.schema>;
/** With the other lessons of which not all can be true: none of them is learnt. */
export type ShownLesson = LessonRow & { readonly contradicts: readonly string[] };

/** A lesson that is to be kept. */
export interface NewLesson {
  readonly tenant: string;
  readonly lesson: Lesson;
  readonly kind?: LessonRow["kind"];
  /** The response whose feedback it came from. */
  readonly response?: string;
  /** Days until it is deleted; undefined for never. */
  readonly days?: number | undefined;
  /** Bytes that all files, feedback and lessons of the tenant may take. */
  readonly maxStorageBytes?: number | undefined;
}

/** Changes of a lesson, none of which changes what it teaches. */
export interface LessonChange extends Pick<Lesson, "weight" | "held_out"> {
  readonly kind?: LessonRow["kind"] | undefined;
  readonly enabled?: boolean | undefined;
}

/** Filter of listed lessons. */
export interface LessonListOptions extends ListOptions {
  /** True: those that contradict others. */
  readonly contradicted?: boolean;
  readonly kind?: LessonRow["kind"] | undefined;
}

const current = "tenant = $1 and (expires_at is null or expires_at > now())";

/** Lessons of a database whose tables are there. */
export function openLessons(database: Database) {
  const shown = async (row: Promise<LessonRow>): Promise<ShownLesson> =>
    (await withContradictions(database, [await row]))[0] as ShownLesson;
  return {
    /** @throws MosError `busy` where the tenant's files, feedback and lessons would take more than they may. */
    put: async (lesson: NewLesson): Promise<ShownLesson> =>
      shown(database.transaction((transaction) => putLesson(transaction, lesson))),
    find: (tenant: string, id: string): Promise<ShownLesson> =>
      shown(findRow(database, rows, { owner: { tenant, isAdmin: false }, id })),
    list: async (
      tenant: string,
      { contradicted = false, kind, ...page }: LessonListOptions,
    ): Promise<Page<ShownLesson>> => {
      const found = await selectPage(database, rows, {
        // lessons alone with their prompt contradict nothing
        where: `${current} and ($2::text is null or kind = $2) and (not $3 or prompt in (
          select prompt from lessons where tenant = $1 and enabled group by prompt having count(*) > 1))`,
        values: [tenant, kind ?? null, contradicted],
        ...page,
      });
      const all = await withContradictions(database, found.rows);
      const wanted = all.filter(({ contradicts }) => !contradicted || contradicts.length > 0);
      return { rows: wanted, hasMore: found.hasMore };
    },
    /** Deletes a lesson with the feedback that it came from. @throws MosError `not_found`. */
    remove: (tenant: string, id: string): Promise<void> =>
      database.transaction(async (on) => {
        const gone = await removeLessons(on, "tenant = $1 and id = $2", [tenant, id]);
        if (gone.length === 0) throw missing(rows.item, id);
        await removeFeedback(on, gone);
      }),
    /** Has the files of the database written anew, where something was deleted from them since. */
    erase: async (rewrite: () => Promise<void>): Promise<void> => {
      const [row] = await database.query("select max(number) as number from erasures");
      if (row?.["number"] === null) return;
      await rewrite();
      await database.query("delete from erasures where number <= $1", [row?.["number"]]);
    },
    removeExpired: (): Promise<void> =>
      database.transaction(async (on) => removeFeedback(on, await removeLessons(on, "expires_at <= now()"))),
    change: (tenant: string, id: string, change: LessonChange): Promise<ShownLesson> =>
      shown(database.transaction((on) => changeLesson(on, { tenant, id }, change))),
    /** All of a tenant's, the oldest first. */
    all: (tenant: string): Promise<readonly LessonRow[]> =>
      queryRows(database, rows, `select * from lessons where ${current} order by number`, [tenant]),
  };
}

/** Lessons with those that contradict them, which have the same prompt. */
async function withContradictions(
  on: Queryable,
  found: readonly LessonRow[],
): Promise<readonly ShownLesson[]> {
  const text = `select * from lessons where ${current} and enabled and prompt = any($2)`;
  const tenant = found[0]?.tenant;
  const prompts = [...new Set(found.map(({ prompt }) => prompt))];
  const group = tenant === undefined ? [] : await queryRows(on, rows, text, [tenant, prompts]);
  const { contradictions } = arrangeLessons(
    group.map(({ body }) => body),
    { heldOut: 0 },
  );
  const others = (id: string): readonly string[] => {
    const all = contradictions.find(({ lessons }) => lessons.some((one) => one.id === id))?.lessons ?? [];
    return all.flatMap((one) => (one.id === id ? [] : [one.id]));
  };
  return found.map((row) => ({ ...row, contradicts: row.enabled ? others(row.id) : [] }));
}

/** Keeps a lesson, in place of one that teaches the same. */
export async function putLesson(on: Queryable, given: NewLesson): Promise<LessonRow> {
  const { tenant, lesson, kind = "lesson", response = null, days = null, maxStorageBytes: most } = given;
  const body = JSON.stringify(lesson);
  const bytes = ROW_BYTES + Buffer.byteLength(body);
  const id = lessonId(lesson);
  await lockTenant(on, tenant);
  if (most !== undefined) await assertStorageQuota(on, tenant, { bytes, most });
  const [row] = await queryRows(
    on,
    rows,
    `insert into lessons (tenant, id, prompt, kind, response, body, bytes, expires_at)
     values ($1, $2, $3, $4, $5, $6, $7, now() + make_interval(days => $8))
     on conflict (tenant, id) do update set kind = excluded.kind, response = excluded.response, body = excluded.body,
       bytes = excluded.bytes, enabled = true, expires_at = excluded.expires_at returning *`,
    [tenant, id, promptKey(lesson), kind, response, body, bytes, days],
  );
  await removeOldest(on, rows, { tenant, bytes: MAX_BYTES, keep: "kind = 'check'" });
  return row as LessonRow;
}

async function removeFeedback(on: Queryable, gone: readonly GoneLesson[]): Promise<void> {
  for (const { tenant, response } of gone)
    await on.query("delete from feedback where tenant = $1 and id = $2", [tenant, response]);
}

/** Deletes the lessons of a condition. Gives those that there were. */
export async function removeLessons(
  on: Queryable,
  condition: string,
  values: readonly unknown[] = [],
): Promise<readonly GoneLesson[]> {
  const text = `delete from lessons where ${condition} returning tenant, response`;
  return queryRows(on, { ...rows, schema: goneSchema }, text, values);
}

const goneSchema = rows.schema.pick({ tenant: true, response: true });
type GoneLesson = z.output<typeof goneSchema>;

async function changeLesson(
  on: Queryable,
  { tenant, id }: Pick<LessonRow, "tenant" | "id">,
  { kind, enabled, ...change }: LessonChange,
): Promise<LessonRow> {
  const [row] = await queryRows(on, rows, "select * from lessons where tenant = $1 and id = $2 for update", [
    tenant,
    id,
  ]);
  if (row === undefined) throw missing(rows.item, id);
  const body = parseLesson({ ...row.body, ...change });
  const update =
    "update lessons set kind = $3, enabled = $4, body = $5 where tenant = $1 and id = $2 returning *";
  const values = [tenant, id, kind ?? row.kind, enabled ?? row.enabled, JSON.stringify(body)];
  return (await queryRows(on, rows, update, values))[0] as LessonRow;
}
