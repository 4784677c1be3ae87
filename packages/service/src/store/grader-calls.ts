// Requests of jobs' graders to models: a worker asks, and a server that has the models answers. Both know only the database.
import { z } from "zod";
import { type Database, parseRows } from "#database";

/** Open requests of a tenant that servers answer at a time: one that waits for its rate limit delays nobody else's. */
const MAX_PER_TENANT = 8;
/** Seconds that a server has for an answer, and a worker waits for it: if a server dies, another one has its turn. */
export const [ANSWER_SECONDS, WAIT_SECONDS] = [280, 600];

const calls = {
  name: "grader_calls",
  item: "grader call",
  // JSON as text: jsonb has no zero characters, which a model may write
  schema: z.object({ id: z.string(), tenant: z.string(), request: z.string() }),
};
const answers = {
  name: "grader_calls",
  item: "grader call",
  schema: z.object({ id: z.string(), answer: z.string() }),
};
const answerSchema = z.union([z.object({ value: z.unknown() }), z.strictObject({ error: z.string() })]);

/** A request that a server has to answer. */
export interface GraderCall {
  readonly id: string;
  readonly tenant: string;
  /** JSON. */
  readonly request: string;
}

/** The body of the answer, or why there is none. */
export type GraderAnswer = { readonly value?: unknown } | { readonly error: string };

/** Requests of graders in a database whose tables are there. */
export type GraderCalls = ReturnType<typeof openGraderCalls>;

export function openGraderCalls(database: Database) {
  return {
    /** Asks the servers of a base in the name of a tenant. */
    ask: async ({ tenant, model }: { tenant: string; model: string }, request: object): Promise<string> => {
      const [row] = await database.query(
        "insert into grader_calls (tenant, base, request) values ($1, $2, $3) returning id::text",
        [tenant, model, JSON.stringify(request)],
      );
      return String(row?.["id"]);
    },
    /** Takes the answers that are there. */
    collect: async (ids: readonly string[]): Promise<ReadonlyMap<string, GraderAnswer>> => {
      const rows = await database.query(
        "delete from grader_calls where id = any($1::bigint[]) and answer is not null returning id::text, answer",
        [ids],
      );
      return new Map(
        parseRows(answers, rows).map(({ id, answer }) => [id, answerSchema.parse(JSON.parse(answer))]),
      );
    },
    /** Nobody waits for it any more. */
    forget: async (id: string): Promise<void> => {
      await database.query("delete from grader_calls where id = $1::bigint", [id]);
    },
    /** Requests that are this server's to answer now, of each tenant the oldest ones. */
    claim: async (base: string, limit: number): Promise<readonly GraderCall[]> => {
      const rows = await database.query(
        `update grader_calls set due_at = now() + make_interval(secs => $4::float8 + 10)
         where due_at <= now() and id in (
           select id from (
             select id, due_at, row_number() over (partition by tenant order by id) as place from grader_calls
             where base = $1 and answer is null and created_at > now() - make_interval(secs => $5::float8)) as open
           where place <= $3 and due_at <= now() order by place, id limit $2)
         returning id::text, tenant, request`,
        [base, limit, MAX_PER_TENANT, ANSWER_SECONDS, WAIT_SECONDS],
      );
      return parseRows(calls, rows);
    },
    /** It is tried again after some seconds. */
    postpone: async (id: string, seconds: number): Promise<void> => {
      await database.query(
        "update grader_calls set due_at = now() + make_interval(secs => $2::float8) where id = $1::bigint",
        [id, seconds],
      );
    },
    answer: async (id: string, answer: GraderAnswer): Promise<void> => {
      await database.query("update grader_calls set answer = $2 where id = $1::bigint", [
        id,
        JSON.stringify(answer),
      ]);
    },
    /** Removes what killed workers have asked. */
    removeOld: async (): Promise<void> => {
      await database.query(
        "delete from grader_calls where created_at <= now() - make_interval(secs => $1::float8 + 60)",
        [WAIT_SECONDS],
      );
    },
  };
}
