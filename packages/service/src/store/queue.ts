// The queue of slices that are due: pg-boss in the service's own database. A message only says where to look; what is true
// stands in the table of jobs, so that a message that comes twice does nothing.

import { createHash } from "node:crypto";
import { MosError } from "mixture-of-shards";
import PgBoss from "pg-boss";
import { type Database, type Queryable, withMigrationLock } from "#database";

/** A slice that is due. */
export interface SliceMessage {
  readonly job: string;
  readonly slice: number;
}

/** A message that this process has taken, and has to acknowledge. */
export interface TakenMessage extends SliceMessage {
  acknowledge(): Promise<void>;
  /** Leaves it to another worker. */
  giveBack(): Promise<void>;
}

export interface SendOptions {
  readonly model: string;
  /** Larger ones come first. */
  readonly priority: number;
  /** Not before this many seconds. */
  readonly delay?: number;
}

/** Messages by base model: a worker asks first for those of the base that it has loaded. */
export interface Queue extends AsyncDisposable {
  /** Makes the place of a model's messages; once, before the first of them. Not within a transaction. */
  prepare(model: string): Promise<void>;
  /** Queues in the transaction that makes the slice due. */
  send(transaction: Queryable, message: SliceMessage, options: SendOptions): Promise<void>;
  /** The next message for a model, or undefined where there is none. */
  take(model: string): Promise<TakenMessage | undefined>;
}

/** A taken message comes back where its process died before it looked at the job. */
const SECONDS_TO_LOOK = 30;
/** Ten years: a job may wait as long as there is no worker. */
const MINUTES_TO_WAIT = 10 * 365 * 24 * 60;

/** pg-boss allows few characters in a name. */
const queueName = (model: string): string =>
  `slices-${createHash("sha256").update(model).digest("hex").slice(0, 24)}`;

const executor = (on: Queryable): PgBoss.Db => ({
  executeSql: async (text, values) => ({
    rows: [
      ...(await on.query(
        text,
        values?.map((value: unknown) => value ?? null),
      )),
    ],
  }),
});

/**
 * Opens the queue, and makes its tables where they are not there.
 *
 * @throws MosError what the database throws.
 */
export async function openQueue(
  database: Database,
  { onError }: { readonly onError: (error: Error) => void },
): Promise<Queue> {
  const boss = new PgBoss({
    db: executor(database),
    schema: "slices",
    schedule: false,
    maintenanceIntervalSeconds: 10,
    archiveCompletedAfterSeconds: 60,
    deleteAfterHours: 1,
  });
  boss.on("error", onError);
  await withMigrationLock(database, () => boss.start());
  const made = new Map<string, Promise<void>>();
  const make = async (model: string): Promise<void> => {
    const name = queueName(model);
    const options = {
      retryLimit: 1_000_000,
      expireInSeconds: SECONDS_TO_LOOK,
      retentionMinutes: MINUTES_TO_WAIT,
    };
    await withMigrationLock(database, () => boss.createQueue(name, { name, ...options }));
  };
  const prepare = (model: string): Promise<void> => {
    const known = made.get(model) ?? make(model);
    made.set(model, known);
    return known.catch((error: unknown) => {
      made.delete(model);
      throw error;
    });
  };
  return {
    prepare,
    send: async (transaction, { job, slice }, { model, priority, delay = 0 }) => {
      const options = { priority, startAfter: delay, db: executor(transaction) };
      const sent = await boss.send(queueName(model), { job, slice }, options);
      if (sent === null) throw new MosError("storage", `the queue of the model ${model} is missing`);
    },
    take: async (model) => {
      await prepare(model);
      const name = queueName(model);
      const [message] = await boss.fetch<SliceMessage>(name, { batchSize: 1 });
      if (message === undefined) return undefined;
      return {
        ...message.data,
        acknowledge: () => boss.complete(name, message.id),
        giveBack: () => boss.fail(name, message.id),
      };
    },
    [Symbol.asyncDispose]: () => boss.stop({ graceful: false, close: false, wait: true }),
  };
}
