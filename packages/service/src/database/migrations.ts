// The tables, in numbered steps. A step that was released is never changed; what comes later is a new one. Processes of the
// version before still run while a step is made, and end the slices that they have: it must leave them what they read and write.
import { MosError } from "mixture-of-shards";
import type { Database, Queryable } from "./database.ts";

const STEPS: readonly string[] = [
  `
  create table files (
    id text primary key,
    tenant text not null,
    purpose text not null,
    filename text not null,
    bytes bigint not null,
    digest text not null,
    status text not null,
    status_details text,
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    number bigserial
  );
  create index files_by_tenant on files (tenant, number desc);
  create index files_by_digest on files (digest);

  create table jobs (
    id text primary key,
    tenant text not null,
    model text not null,
    status text not null check (status in ('queued', 'running', 'paused', 'succeeded', 'failed', 'cancelled')),
    -- what a client asked for, as the answer shows it, and what that means to the trainer
    request jsonb not null,
    plan jsonb not null,
    -- the adapter that it starts from: digests by path
    initial jsonb,
    training_file text not null,
    training_digest text not null,
    validation_file text,
    validation_digest text,
    metadata jsonb,
    priority integer not null default 0,
    -- the limits of its key, as they were when it was made
    max_running_jobs bigint,
    max_steps bigint,
    max_tokens bigint,
    -- it was due while its tenant had as many running as it may
    is_held boolean not null default false,
    -- its graders ask models: a worker needs a server
    asks_models boolean not null default false,
    idempotency_key text,
    -- of the request as it was sent
    request_digest text,
    -- the slice that is due; a slice that ends with another number, or with another lease, changes nothing
    slice integer not null default 0,
    lease bigint not null default 0,
    worker text,
    lease_until timestamptz,
    -- SHA-256 of the key by which the trainer of the running slice asks models
    key_hash text,
    failures integer not null default 0,
    -- runs that were given up for one from the first step: their events have other names
    restarts integer not null default 0,
    -- when it is due, in turns of all tenants, and since when it waits
    turn bigint not null default 0,
    queued_at timestamptz,
    wanted text check (wanted = 'pause'),
    -- the run's folder as it was after the last slice: digests by path
    run jsonb,
    step integer not null default 0,
    steps integer,
    -- settings that its data have decided, once its run has begun
    chosen jsonb,
    trained_tokens bigint,
    seconds double precision not null default 0,
    error jsonb,
    fine_tuned_model text,
    result_file text,
    created_at timestamptz not null default now(),
    finished_at timestamptz,
    -- about what it and its events take
    bytes bigint not null default 0,
    number bigserial,
    unique (tenant, idempotency_key)
  );
  create index jobs_by_tenant on jobs (tenant, number desc);
  create index jobs_unfinished on jobs (status) where status in ('queued', 'running', 'paused');
  create index jobs_due on jobs (model, priority desc, turn, queued_at) where status = 'queued' and not is_held;
  create index jobs_ended on jobs (status, model) where status in ('succeeded', 'failed', 'cancelled');
  create index jobs_waiting on jobs (tenant, turn) where status in ('queued', 'running');
  create index jobs_held on jobs (tenant) where is_held and status = 'queued';
  create index jobs_running_turns on jobs (turn) where status = 'running';
  create index jobs_queued_turns on jobs (turn) where status = 'queued';

  create table usage (
    tenant text not null,
    -- the base of what was trained; what answered, of what was served
    model text not null,
    hour timestamptz not null,
    requests bigint not null default 0,
    prompt_tokens bigint not null default 0,
    cached_tokens bigint not null default 0,
    completion_tokens bigint not null default 0,
    serving_seconds double precision not null default 0,
    trained_tokens bigint not null default 0,
    training_seconds double precision not null default 0,
    primary key (tenant, hour, model)
  );
  create index usage_by_hour on usage (hour);

  create table events (
    id text primary key,
    job text not null references jobs on delete cascade,
    -- what a slice that is done again says a second time is dropped by this name
    name text not null,
    level text not null,
    type text not null,
    message text not null,
    data jsonb,
    created_at timestamptz not null default now(),
    number bigserial,
    unique (job, name)
  );
  create index events_by_job on events (job, number desc);

  create table webhooks (
    id text primary key,
    tenant text not null,
    url text not null,
    description text,
    events text[] not null,
    secret text not null,
    -- whether its address may be one that only this network reaches
    allows_private boolean not null,
    created_at timestamptz not null default now(),
    disabled_at timestamptz,
    number bigserial
  );
  create index webhooks_by_tenant on webhooks (tenant, number desc);

  create table webhook_deliveries (
    id text primary key default 'whd_' || replace(gen_random_uuid()::text, '-', ''),
    webhook text not null references webhooks on delete cascade,
    tenant text not null,
    event text not null,
    type text not null,
    job text not null,
    status text not null default 'waiting' check (status in ('waiting', 'delivered', 'failed')),
    -- an attempt that ends with another number than it began with changes nothing
    attempts integer not null default 0,
    -- when it is tried again; while it is tried, when its server counts as dead
    due_at timestamptz default now(),
    response_status integer,
    error text,
    created_at timestamptz not null default now(),
    finished_at timestamptz,
    number bigserial
  );
  create index webhook_deliveries_by_webhook on webhook_deliveries (webhook, number desc);
  create index webhook_deliveries_due on webhook_deliveries (due_at) where due_at is not null;
  create index webhook_deliveries_finished on webhook_deliveries (finished_at) where finished_at is not null;

  create table checkpoints (
    id text primary key,
    job text not null references jobs on delete cascade,
    step integer not null,
    model text not null,
    metrics jsonb not null,
    created_at timestamptz not null default now(),
    number bigserial,
    unique (job, step)
  );

  create table workers (
    name text not null,
    model text not null,
    version text not null,
    started_at timestamptz not null default now(),
    seen_at timestamptz not null default now(),
    primary key (name, model)
  );

  create table models (
    name text primary key,
    tenant text not null,
    job text references jobs on delete set null,
    files jsonb not null,
    -- of an imported one, which count as those of the tenant's files
    bytes bigint not null default 0,
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    number bigserial
  );
  create index models_imported on models (tenant) where bytes > 0;

  create table aliases (
    tenant text not null,
    id text not null,
    -- incremented by each change; 0 in the transaction that creates it
    version integer not null default 0,
    model text not null,
    created_at timestamptz not null default now(),
    changed_at timestamptz not null default now(),
    number bigserial,
    primary key (tenant, id)
  );
  create index aliases_by_model on aliases (model);

  create view live_models as
    select * from models
    where expires_at is null or expires_at > now() or exists (select from aliases where model = name);

  -- contents that are put into the storage before a row of their own names them, and bytes of files that arrive
  create table arrivals (
    id text primary key,
    tenant text not null,
    bytes bigint not null default 0,
    digests text[] not null default '{}',
    seen_at timestamptz not null default now()
  );
  create index arrivals_by_tenant on arrivals (tenant);

  -- contents that a row named and that are removed when none does; with bytes, those of a tenant's file, which count until then
  create table released (
    number bigserial primary key,
    digest text not null,
    tenant text not null,
    bytes bigint not null default 0,
    -- an unfinished job of the tenant needs it: looked at again when a row lets go of it
    is_used boolean not null default false
  );
  create index released_by_digest on released (digest);
  create index released_by_tenant on released (tenant) where bytes > 0;
  create index released_now on released (digest) where not is_used;

  create index files_expiring on files (expires_at) where expires_at is not null;
  create index models_expiring on models (expires_at) where expires_at is not null;

  create function release_file() returns trigger language plpgsql as $$ begin
    insert into released (digest, tenant, bytes) values (old.digest, old.tenant, old.bytes);
    return null;
  end $$;
  create trigger files_released after delete on files for each row execute function release_file();

  create function release_arrival() returns trigger language plpgsql as $$ begin
    insert into released (digest, tenant, bytes) select distinct digest, old.tenant, old.bytes
      from unnest(old.digests) as named (digest);
    return null;
  end $$;
  create trigger arrivals_released after delete on arrivals for each row execute function release_arrival();

  create function release_model() returns trigger language plpgsql as $$ begin
    insert into released (digest, tenant) select distinct value, old.tenant from jsonb_each_text(old.files);
    return null;
  end $$;
  create trigger models_released after delete on models for each row execute function release_model();

  create function contents_of(job jobs) returns setof text language sql immutable as $$
    select value from jsonb_each_text(coalesce(job.run, '{}') || coalesce(job.initial, '{}'))
      where job.status in ('queued', 'running', 'paused')
    union select digest from unnest(array[job.training_digest, job.validation_digest]) as named (digest)
      where digest is not null and job.status in ('queued', 'running', 'paused')
  $$;
  create function release_job() returns trigger language plpgsql as $$ begin
    if tg_op = 'DELETE' then
      insert into released (digest, tenant) select digest, old.tenant from contents_of(old) as digest;
    else
      insert into released (digest, tenant) select digest, old.tenant
        from (select contents_of(old) except select contents_of(new)) as gone (digest);
    end if;
    return null;
  end $$;
  create trigger jobs_released after update of status, run or delete on jobs for each row
    when (old.status in ('queued', 'running', 'paused')) execute function release_job();

  -- answers of the Responses API that later requests may refer to
  create table responses (
    tenant text not null,
    id text not null,
    -- ids of its input and output
    items text[] not null,
    -- JSON
    body text not null,
    bytes bigint not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    number bigserial,
    primary key (tenant, id)
  );
  create index responses_by_tenant on responses (tenant, number desc);
  create index responses_by_item on responses using gin (items);
  create index responses_expiring on responses (expires_at);

  -- the last hundred models that an alias stood for
  create table alias_changes (
    tenant text not null,
    alias text not null,
    version integer not null,
    model text not null,
    changed_at timestamptz not null,
    primary key (tenant, alias, version),
    foreign key (tenant, alias) references aliases on delete cascade
  );

  create function record_alias() returns trigger language plpgsql as $$ begin
    insert into alias_changes values (new.tenant, new.id, new.version, new.model, new.changed_at);
    delete from alias_changes where tenant = new.tenant and alias = new.id and version <= new.version - 100;
    return null;
  end $$;
  create trigger aliases_changed after update of version on aliases for each row
    when (new.version > old.version) execute function record_alias();

  create table feedback (
    tenant text not null,
    -- of the response
    id text not null,
    model text not null,
    rating text not null check (rating in ('up', 'down')),
    -- JSON as text: jsonb has no zero characters, which a model may write
    prompt text not null,
    completion text not null,
    correction text,
    hint text,
    -- the id of the lesson that it teaches
    lesson text,
    bytes bigint not null,
    created_at timestamptz not null default now(),
    number bigserial,
    primary key (tenant, id)
  );
  create index feedback_by_tenant on feedback (tenant, number desc);

  create table lessons (
    tenant text not null,
    -- a digest of what it teaches
    id text not null,
    -- a digest of its prompt: lessons of one may contradict each other
    prompt text not null,
    kind text not null check (kind in ('lesson', 'check')),
    enabled boolean not null default true,
    -- the feedback with which it goes; none of a check, and of what was added by hand
    response text check (kind = 'lesson' or response is null),
    -- JSON as text, as that of feedback
    body text not null,
    bytes bigint not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    number bigserial,
    primary key (tenant, id),
    foreign key (tenant, response) references feedback (tenant, id) on delete cascade
  );
  create index lessons_by_tenant on lessons (tenant, number desc);
  create index lessons_by_prompt on lessons (tenant, prompt);
  create index lessons_by_response on lessons (tenant, response);
  create index lessons_expiring on lessons (expires_at) where expires_at is not null;

  -- deletions after which PGlite has to write its files anew, in which the deleted rows still are
  create table erasures (number bigserial primary key);
  create function erase_lesson() returns trigger language plpgsql as $$ begin
    insert into erasures default values;
    return null;
  end $$;
  create trigger lessons_erased after delete on lessons for each row execute function erase_lesson();

  -- rows that change often do so in place: with room on their page, and no index of what changes, such as a lease
  alter table jobs set (fillfactor = 80);
  alter table feedback set (fillfactor = 80);
  alter table usage set (fillfactor = 80);
  `,
];

/** Any number; every process that brings the tables up to date takes this lock first. */
const LOCK = 7_205_418;

/**
 * Brings the tables up to date. Processes that do so at once wait for each other.
 *
 * @throws MosError `unsupported` for tables of a newer version of this package.
 */
export async function migrate(database: Database): Promise<void> {
  await database.transaction(async (transaction) => {
    await transaction.query("select pg_advisory_xact_lock($1::bigint)", [LOCK]);
    await transaction.query("create table if not exists migrations (number integer primary key)");
    const done = await assertKnownTables(transaction);
    for (const [i, step] of STEPS.slice(done).entries()) {
      await transaction.query(step);
      await transaction.query("insert into migrations values ($1)", [done + i + 1]);
    }
  });
}

/**
 * The number of steps that were made.
 *
 * @throws MosError `unsupported` for tables of a newer version of this package.
 */
export async function assertKnownTables(database: Queryable): Promise<number> {
  const [row] = await database.query("select coalesce(max(number), 0)::integer as done from migrations");
  const done = Number(row?.["done"]);
  if (done > STEPS.length)
    throw new MosError(
      "unsupported",
      `the database was created by a newer version: its schema is ${done}, and this version supports ${STEPS.length}; upgrade`,
    );
  return done;
}
