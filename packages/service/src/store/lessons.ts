// Lessons of a tenant: what its people want answered, and checks that must stay right. Deduplicated by what they teach, within
// bytes; older lessons give way to newer ones.
import { MosError } from "mixture-of-shards";
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

/** Rows that are read at once for those that contradict others. */
const SCANNED = 100;

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
  /** Undefined: what it already is, or else a lesson. */
  readonly kind?: LessonRow["kind"] | undefined;
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
      const wanted: ShownLesson[] = [];
      for (let { after } = page; ; ) {
        const found = await selectPage(database, rows, {
          // lessons alone with their prompt contradict nothing
          where: `${current} and ($2::text is null or kind = $2) and (not $3 or prompt in (
            select prompt from lessons where tenant = $1 and enabled group by prompt having count(*) > 1))`,
          values: [tenant, kind ?? null, contradicted],
          ...page,
          ...(contradicted ? { limit: SCANNED } : {}),
          after,
        });
        const all = await withContradictions(database, found.rows);
        wanted.push(...all.filter(({ contradicts }) => !contradicted || contradicts.length > 0));
        if (wanted.length >= page.limit || !found.hasMore)
          return {
            rows: wanted.slice(0, page.limit),
            hasMore: found.hasMore || wanted.length > page.limit,
          };
        after = found.rows.at(-1)?.id;
      }
    },
    /** Deletes a lesson with all feedback that teaches it. @throws MosError `not_found`. */
    remove: (tenant: string, id: string): Promise<void> =>
      database.transaction(async (on) => {
        if ((await removeLessons(on, tenant, ["id = $2", id])) === 0) throw missing(rows.item, id);
      }),
    /** Has the files of the database written anew, where something was deleted from them since. */
    erase: async (rewrite: () => Promise<void>): Promise<void> => {
      const [row] = await database.query("select max(number) as number from erasures");
      if (row?.["number"] === null) return;
      await rewrite();
      await database.query("delete from erasures where number <= $1", [row?.["number"]]);
    },
    /** In a transaction of each tenant, so that none waits for a lock while it holds rows of others. */
    removeExpired: async (): Promise<void> => {
      const expired = "expires_at <= now()";
      for (const { tenant } of await database.query(`select distinct tenant from lessons where ${expired}`))
        await database.transaction((on) => removeLessons(on, String(tenant), [expired]));
    },
    /** @throws MosError `not_found`, and `busy` for a check that does not fit. */
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

/**
 * Keeps a lesson, in place of one that teaches the same. Only a kind that is given changes its kind or enables it, and feedback
 * changes nothing of it but its days: a lesson that was added by hand does not go with feedback that says the same.
 */
export async function putLesson(on: Queryable, given: NewLesson): Promise<LessonRow> {
  const { tenant, lesson, kind = null, response = null, days = null, maxStorageBytes: most } = given;
  const body = JSON.stringify(lesson);
  const bytes = ROW_BYTES + Buffer.byteLength(body);
  const id = lessonId(lesson);
  await lockTenant(on, tenant);
  if (most !== undefined) await assertStorageQuota(on, tenant, { bytes, most });
  const [row] = await queryRows(
    on,
    rows,
    `insert into lessons (tenant, id, prompt, kind, response, body, bytes, expires_at)
     values ($1, $2, $3, coalesce($4::text, 'lesson'), $5, $6, $7, now() + make_interval(days => $8))
     on conflict (tenant, id) do update set
       kind = coalesce($4::text, lessons.kind),
       enabled = lessons.enabled or $4::text is not null,
       response = case when lessons.response is not null then excluded.response end,
       body = case when excluded.response is null then excluded.body else lessons.body end,
       bytes = case when excluded.response is null then excluded.bytes else lessons.bytes end,
       expires_at = excluded.expires_at
     returning *`,
    [tenant, id, promptKey(lesson), kind, response, body, bytes, days],
  );
  await assertChecksFit(on, tenant);
  await removeOldest(on, rows, { tenant, bytes: MAX_BYTES, keep: "kind = 'check'" });
  return row as LessonRow;
}

/** Checks never give way. @throws MosError `busy` where a tenant's take more than all its lessons may. */
async function assertChecksFit(on: Queryable, tenant: string): Promise<void> {
  const text = "select sum(bytes) as taken from lessons where tenant = $1 and kind = 'check'";
  const [row] = await on.query(text, [tenant]);
  if (Number(row?.["taken"]) > MAX_BYTES)
    throw new MosError("busy", `the checks of this key may take ${MAX_BYTES} bytes; delete some`);
}

/** Deletes a tenant's lessons of a condition with all feedback that teaches them. Gives their count. */
async function removeLessons(
  on: Queryable,
  tenant: string,
  [condition, ...values]: readonly [condition: string, ...values: unknown[]],
): Promise<number> {
  await lockTenant(on, tenant);
  const text = `delete from lessons where tenant = $1 and ${condition} returning id`;
  const gone = (await on.query(text, [tenant, ...values])).map(({ id }) => id);
  await on.query("delete from feedback where tenant = $1 and lesson = any($2)", [tenant, gone]);
  return gone.length;
}

async function changeLesson(
  on: Queryable,
  { tenant, id }: Pick<LessonRow, "tenant" | "id">,
  { kind, enabled, ...change }: LessonChange,
): Promise<LessonRow> {
  await lockTenant(on, tenant);
  const row = await findRow(on, rows, { owner: { tenant, isAdmin: false }, id });
  const body = parseLesson({ ...row.body, ...change });
  const update = `update lessons set kind = $3, enabled = $4, body = $5,
    response = case when $3 = 'lesson' then response end where tenant = $1 and id = $2 returning *`;
  const values = [tenant, id, kind ?? row.kind, enabled ?? row.enabled, JSON.stringify(body)];
  const [changed] = await queryRows(on, rows, update, values);
  await assertChecksFit(on, tenant);
  return changed as LessonRow;
}
