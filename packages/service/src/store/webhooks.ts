// Webhooks: where tenants are told of their jobs, and what they are to be told. A delivery is written in the transaction that
// ends the job, and sent by any server later: neither waits for the other.
import { randomBytes } from "node:crypto";
import { MosError } from "mixture-of-shards";
import { z } from "zod";
import {
  type Database,
  findRow,
  isOwned,
  type ListOptions,
  lockTenant,
  type Owner,
  ownerValues,
  type Page,
  type Queryable,
  queryRows,
  randomId,
  removeRow,
  selectPage,
  storable,
} from "#database";

const webhooks = {
  name: "webhooks",
  item: "webhook",
  schema: z.object({
    id: z.string(),
    tenant: z.string(),
    url: z.string(),
    description: z.string().nullable(),
    events: z.array(z.string()),
    secret: z.string(),
    created_at: z.date(),
    disabled_at: z.date().nullable(),
  }),
};
/** A receiver of events of a tenant's jobs. */
export type WebhookRow = z.output<typeof webhooks.schema>;

const deliveries = {
  name: "webhook_deliveries",
  item: "webhook delivery",
  schema: z.object({
    id: z.string(),
    webhook: z.string(),
    tenant: z.string(),
    event: z.string(),
    type: z.string(),
    job: z.string(),
    status: z.enum(["waiting", "delivered", "failed"]),
    attempts: z.number(),
    due_at: z.date().nullable(),
    response_status: z.number().nullable(),
    error: z.string().nullable(),
    created_at: z.date(),
    finished_at: z.date().nullable(),
  }),
};
/** An event for a webhook, and how its delivery went. */
export type DeliveryRow = z.output<typeof deliveries.schema>;

const OUTCOMES = ["succeeded", "failed", "cancelled"] as const;
const eventType = <T extends (typeof OUTCOMES)[number]>(outcome: T) => `fine_tuning.job.${outcome}` as const;

/** The types of events, by OpenAI's names. */
export const webhookEvents = [eventType("succeeded"), eventType("failed"), eventType("cancelled")] as const;

/** Webhooks of a tenant. */
const MAX_WEBHOOKS = 10;
/** The job that a test tells of. */
const TEST_JOB = "ftjob-test";
/** Days after which a delivery that is over is forgotten, and number of later ones of its webhook after which it is, too. */
const [RETENTION_DAYS, RETAINED] = [30, 1000];

/** A webhook that is to be made. */
type NewWebhook = Pick<WebhookRow, "tenant" | "url" | "description" | "events"> & {
  /** True if its address may be private. */
  readonly allowsPrivate: boolean;
};

/** Webhooks of a database whose tables are there. */
export function openWebhooks(database: Database) {
  return {
    /** @throws MosError `bad_option` where the tenant has as many as it may have. */
    add: (webhook: NewWebhook): Promise<WebhookRow> => addWebhook(database, webhook),
    find: (owner: Owner, id: string): Promise<WebhookRow> => findRow(database, webhooks, { owner, id }),
    list: (owner: Owner, page: ListOptions): Promise<Page<WebhookRow>> =>
      selectPage(database, webhooks, { where: isOwned, values: ownerValues(owner), ...page }),
    remove: (owner: Owner, id: string): Promise<void> => removeRow(database, webhooks, { owner, id }),
    /** Sends an event of a job that does not exist. @throws MosError `bad_option` where the webhook is disabled. */
    test: async ({ id, events }: WebhookRow): Promise<DeliveryRow> => {
      const [delivery] = await queryRows(
        database,
        deliveries,
        `insert into webhook_deliveries (webhook, tenant, event, type, job)
         select id, tenant, $2, $3, $4 from webhooks where id = $1 and disabled_at is null and not exists (
           select from webhook_deliveries where webhook = $1 and job = $4 and due_at is not null) returning *`,
        [id, randomId("evt_"), events[0], TEST_JOB],
      );
      if (delivery === undefined)
        throw new MosError(
          "bad_option",
          `the webhook ${id} is disabled or already has a pending test; see its deliveries`,
        );
      return delivery;
    },
    /** Deliveries of a webhook; the newest first. */
    deliveries: (webhook: WebhookRow, page: ListOptions): Promise<Page<DeliveryRow>> =>
      selectPage(database, deliveries, { where: "webhook = $1", values: [webhook.id], ...page }),
  };
}

function addWebhook(
  database: Database,
  { tenant, url, description, events, allowsPrivate }: NewWebhook,
): Promise<WebhookRow> {
  return database.transaction(async (transaction) => {
    await lockTenant(transaction, tenant); // two at once would both be the last
    const [webhook] = await queryRows(
      transaction,
      webhooks,
      `insert into webhooks (id, tenant, url, description, events, secret, allows_private)
       select $1, $2, $3, $4, $5::text[], $6, $7 where (select count(*) from webhooks where tenant = $2) < $8
       returning *`,
      [
        ...[randomId("wh_"), tenant, url, description === null ? null : storable(description), events],
        ...[`whsec_${randomBytes(32).toString("base64")}`, allowsPrivate, MAX_WEBHOOKS],
      ],
    );
    if (webhook === undefined)
      throw new MosError("bad_option", `too many webhooks (${MAX_WEBHOOKS}); delete one first`);
    return webhook;
  });
}

/** Has the webhooks of a job's tenant told that it has ended, with the transaction in which it ends. */
export async function announceEnd(
  transaction: Queryable,
  { id, tenant }: { readonly id: string; readonly tenant: string },
  outcome: (typeof OUTCOMES)[number],
): Promise<void> {
  // the lock lets a webhook that is being deleted go first, or the job could not end
  await transaction.query(
    `insert into webhook_deliveries (webhook, tenant, event, type, job)
     select id, tenant, $2, $3, $4 from webhooks
     where tenant = $1 and $3 = any(events) and disabled_at is null for key share`,
    [tenant, randomId("evt_"), eventType(outcome), id],
  );
}

const claimed = {
  ...deliveries,
  schema: deliveries.schema.extend({
    url: z.string(),
    secret: z.string(),
    allows_private: z.boolean(),
    claimed_at: z.date(),
  }),
};
/** A delivery that a server attempts now; the times are the database's. */
export type ClaimedDelivery = z.output<typeof claimed.schema>;

/** The outcome of an attempt. */
export interface AttemptEnd {
  /** "gone": the receiver wants nothing any more, and its webhook is disabled. */
  readonly type: "delivered" | "failed" | "gone";
  /** Status of the response, if there was one. */
  readonly status?: number;
  readonly error?: string;
  /** Seconds until it is tried again, which vary a little; left out: given up. */
  readonly again?: number | undefined;
}

/** Deliveries that servers attempt. */
export type Outbox = ReturnType<typeof openOutbox>;

export function openOutbox(database: Database) {
  return {
    /** The next delivery, of none of these tenants, for this many seconds; then another server may have it. */
    claim: async (except: readonly string[], seconds: number): Promise<ClaimedDelivery | undefined> => {
      const [delivery] = await queryRows(
        database,
        claimed,
        `with next as (
           select id from webhook_deliveries where due_at <= now() and tenant <> all($1::text[])
           order by due_at limit 1 for update skip locked)
         update webhook_deliveries as delivery
           set attempts = attempts + 1, due_at = now() + make_interval(secs => $2::float8)
         from next, webhooks where delivery.id = next.id and webhooks.id = delivery.webhook
         returning delivery.*, url, secret, allows_private, now() as claimed_at`,
        [except, seconds],
      );
      return delivery;
    },
    /** Does nothing where another server has the delivery by now. */
    end: async (delivery: DeliveryRow, end: AttemptEnd): Promise<void> => {
      if (end.type === "gone") return disable(database, delivery);
      const { type, status = null, error, again } = end;
      await database.query(
        `update webhook_deliveries set status = $3, response_status = $4, error = $5,
           due_at = now() + make_interval(secs => $6::float8 * (0.9 + 0.2 * random())),
           finished_at = case when $3 = 'waiting' then null else now() end
         where id = $1 and attempts = $2 and status = 'waiting'`,
        [
          ...[delivery.id, delivery.attempts, again === undefined ? type : "waiting", status],
          ...[error === undefined ? null : storable(error), again ?? null],
        ],
      );
    },
    /** Forgets what was over long ago. */
    removeOld: async (): Promise<void> => {
      await database.query(
        `delete from webhook_deliveries using (
           select id, row_number() over (partition by webhook order by number desc) as place
           from webhook_deliveries where finished_at is not null) as ended
         where webhook_deliveries.id = ended.id
           and (finished_at < now() - make_interval(days => $1) or place > $2)`,
        [RETENTION_DAYS, RETAINED],
      );
    },
  };
}

/** The receiver of a delivery wants nothing any more, of what waits either. */
function disable(database: Database, { id, webhook }: DeliveryRow): Promise<void> {
  return database.transaction(async (transaction) => {
    await transaction.query("update webhooks set disabled_at = now() where id = $1", [webhook]);
    await transaction.query(
      `update webhook_deliveries set status = 'failed', error = 'the receiver answered 410: the webhook was disabled',
         response_status = case when id = $2 then 410 else response_status end, due_at = null, finished_at = now()
       where webhook = $1 and status = 'waiting'`,
      [webhook, id],
    );
  });
}
