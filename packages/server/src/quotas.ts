// Tokens that keys may have by day and month of UTC. The counts outlive the server in a file, to which several servers may add.
import { dirname } from "node:path";
import { errorText, MosError } from "mixture-of-shards-core/common";
import { fileStamp, lockChanges, pathExists, readJson, writeFileAtomic } from "mixture-of-shards-core/files";
import { z } from "zod";
import type { ApiKey } from "./auth.ts";
import { ApiError } from "./errors.ts";
import { duration } from "./limits.ts";
import type { ServerLog } from "./metrics.ts";

/** Counts the tokens of keys that have a quota. */
export type Quotas = ReturnType<typeof createQuotas>;
/** Reservation of a request in its key's quota. */
export type QuotaShare = ReturnType<Quotas["take"]>;
/** Quotas whose counts are in a file. Disposing them writes what is new. */
export type StoredQuotas = Awaited<ReturnType<typeof openQuotas>>;

type QuotaKey = Pick<ApiKey, "name" | "tokensPerDay" | "tokensPerMonth">;

/** Tokens by tenant and period, such as `acme 2026-11-26` and `acme 2026-11`. */
type Counts = Map<string, number>;

const addTo = (counts: Counts, key: string, tokens: number): unknown =>
  counts.set(key, (counts.get(key) ?? 0) + tokens);

const hasQuota = ({ tokensPerDay, tokensPerMonth }: QuotaKey): boolean =>
  (tokensPerDay ?? tokensPerMonth) !== undefined;

/** The day and the month of a time, and when the next ones begin, in milliseconds since 1970. */
function periodsAt(now: number) {
  const at = new Date(now);
  const [year, month, text] = [at.getUTCFullYear(), at.getUTCMonth(), at.toISOString()];
  return {
    day: { period: text.slice(0, 10), end: Date.UTC(year, month, at.getUTCDate() + 1) },
    month: { period: text.slice(0, 7), end: Date.UTC(year, month + 1) },
  };
}

/** The quotas of a key. */
const toQuotas = ({ tokensPerDay, tokensPerMonth }: QuotaKey, now: number) =>
  (["day", "month"] as const).flatMap((unit) => {
    const limit = { day: tokensPerDay, month: tokensPerMonth }[unit];
    return limit === undefined ? [] : [{ unit, limit, ...periodsAt(now)[unit] }];
  });

/** A quota with the tokens that are used, and those reserved for answers that are being written. */
type State = ReturnType<typeof toQuotas>[number] & { readonly used: number; readonly reserved: number };

const remainingTokens = ({ limit, used }: State): number => Math.max(0, limit - used);
const unreservedTokens = (state: State): number => Math.max(0, remainingTokens(state) - state.reserved);

function quotaHeaders(states: readonly State[], now: number): Readonly<Record<string, string>> {
  const [tightest] = [...states].sort((a, b) => remainingTokens(a) - remainingTokens(b));
  if (tightest === undefined) return {};
  return {
    "x-ratelimit-limit-tokens": String(tightest.limit),
    "x-ratelimit-remaining-tokens": String(remainingTokens(tightest)),
    "x-ratelimit-reset-tokens": duration(tightest.end - now),
  };
}

function refusal(state: State, promptTokens: number, now: number): ApiError {
  const { unit, limit, used, reserved, end } = state;
  const left = remainingTokens(state);
  const details = {
    status: 429,
    type: "insufficient_quota",
    code: "insufficient_quota",
    headers: { ...quotaHeaders([state], now), "x-should-retry": "false" },
  };
  if (promptTokens > limit)
    return new ApiError(
      `the prompt has ${promptTokens} tokens; the quota of this key is ${limit} per ${unit}`,
      details,
    );
  if (left >= Math.max(1, promptTokens))
    return new ApiError(
      `this key has used ${used} of ${limit} tokens per ${unit}, and running requests reserve ${reserved} more; wait for one to finish`,
      { status: 429, code: "concurrency_limit_exceeded", retryAfter: 1, headers: quotaHeaders([state], now) },
    );
  const what = left === 0 ? "" : `, which leaves ${left} for a prompt of ${promptTokens}`;
  return new ApiError(
    `this key has used ${used} of ${limit} tokens per ${unit}${what}; the next ${unit} begins at ${new Date(end).toISOString()}`,
    { ...details, retryAfter: (end - now) / 1000 },
  );
}

/**
 * Quotas over two counts: `saved`, which a file has, and `fresh`, which it does not have yet. Without them they end with the server.
 *
 * @param date Milliseconds since 1970 by the machine's clock.
 */
export function createQuotas(
  date: () => number,
  { saved, fresh = new Map() }: { saved?: () => Counts; fresh?: Counts } = {},
) {
  /** Tokens reserved, by tenant. */
  const held = new Map<string, number>();
  const hold = (name: string, tokens: number): void => {
    addTo(held, name, tokens);
    if (held.get(name) === 0) held.delete(name);
  };
  const quotaStates = (key: QuotaKey): readonly State[] =>
    toQuotas(key, date()).map((quota) => {
      const place = `${key.name} ${quota.period}`;
      const used = (saved?.().get(place) ?? 0) + (fresh.get(place) ?? 0);
      return { ...quota, used, reserved: held.get(key.name) ?? 0 };
    });
  const count = (key: QuotaKey, tokens: number, at = date()): void => {
    if (!hasQuota(key)) return;
    for (const { period } of Object.values(periodsAt(at))) addTo(fresh, `${key.name} ${period}`, tokens);
  };
  return {
    /**
     * Counts a prompt, and reserves what its answers may take, or as much as is left, until it is released.
     *
     * @throws ApiError 429 where the quota has no room for the prompt.
     */
    take(key: QuotaKey, promptTokens: number, answerTokens: number) {
      const at = date();
      const full = quotaStates(key).find((state) => unreservedTokens(state) < Math.max(1, promptTokens));
      if (full !== undefined) throw refusal(full, promptTokens, at);
      count(key, promptTokens, at);
      const reserved = Math.min(answerTokens, ...quotaStates(key).map(unreservedTokens));
      let unused = hasQuota(key) ? reserved : 0;
      const use = (tokens: number): void => {
        const taken = Math.min(tokens, unused);
        unused -= taken;
        hold(key.name, -taken);
      };
      hold(key.name, unused);
      return {
        /** Counts tokens of its answers. */
        add(tokens: number): void {
          use(tokens);
          count(key, tokens);
        },
        /** @throws ApiError 429 where its answers have had all that was reserved for them, and that was less than they may take. */
        check(): void {
          if (reserved === answerTokens || unused > 0) return;
          const full = quotaStates(key).find((state) => unreservedTokens(state) === 0);
          if (full !== undefined) throw refusal(full, 1, date());
        },
        /** Lets others have what was reserved and not used. */
        release: (): void => use(unused),
        /** Takes the prompt back, too, of a request that is not accepted. */
        giveBack(): void {
          use(unused);
          count(key, -promptTokens, at);
        },
      };
    },
    /** Rest of the tightest quota, in OpenAI's headers. */
    headers: (key: QuotaKey) => quotaHeaders(quotaStates(key), date()),
  };
}

const fileSchema = z.strictObject({
  tokens: z.record(z.string().regex(/^[^ ]+ \d{4}-\d\d(-\d\d)?$/), z.int().min(0)),
});

async function readCounts(path: string): Promise<Counts> {
  if (!(await pathExists(path))) return new Map();
  const { tokens } = await readJson(path, fileSchema, { code: "bad_config" });
  return new Map(Object.entries(tokens));
}

/** Without periods that are long over: that the last one is may be an error of this machine's clock. */
function serializeCounts(counts: Counts, now: number): string {
  const at = new Date(now);
  const oldest = periodsAt(Date.UTC(at.getUTCFullYear(), at.getUTCMonth() - 2)).month.period;
  const kept = [...counts].filter(([key]) => key.slice(key.indexOf(" ") + 1) >= oldest);
  const tokens = Object.fromEntries(kept.map(([key, count]) => [key, Math.max(0, count)]));
  return `${JSON.stringify({ tokens }, null, 1)}\n`;
}

/** Interval between writes of the counts, in milliseconds; a crash loses at most those of one. */
const SAVE_EVERY = 5000;

/** Time for which the last write waits for a lock that others hold, in milliseconds. */
const LAST_WRITE_WAIT = 5000;

/**
 * Quotas whose counts are kept in a file, written every five seconds where they have changed.
 *
 * @param options `isNeeded`: the file has to be writable from the start; `log`: where it is reported that it is not.
 * @throws MosError `bad_config` for a file that is none of these; where quotas are needed, `storage` and `not_found`, too.
 */
export async function openQuotas(
  path: string,
  options: {
    readonly date: () => number;
    readonly isNeeded: boolean;
    readonly log: Pick<ServerLog, "error">;
  },
) {
  const { date, isNeeded, log } = options;
  let saved = await readCounts(path);
  const fresh: Counts = new Map();
  let stamp = "";
  const readStamp = (): Promise<string> => fileStamp(path).catch(() => "");
  const ending = new AbortController();
  const write = async (): Promise<void> => {
    await using _lock = await lockChanges(dirname(path), { signal: ending.signal });
    const counts = await readCounts(path);
    const added = [...fresh];
    for (const [key, tokens] of added) addTo(counts, key, tokens);
    await writeFileAtomic(path, serializeCounts(counts, date()), { mode: 0o600 });
    stamp = await readStamp();
    saved = counts;
    for (const [key, tokens] of added) addTo(fresh, key, -tokens);
    for (const [key, tokens] of fresh) if (tokens === 0) fresh.delete(key);
  };
  const update = async (): Promise<void> => {
    if (fresh.size > 0) return await write();
    const found = await readStamp();
    if (found === stamp) return;
    saved = await readCounts(path);
    stamp = found;
  };
  let reported = "";
  const report = (error: unknown): void => {
    const reason = errorText(error);
    if (reason !== reported)
      log.error({ reason }, "token counts cannot be saved and would be lost by a restart");
    reported = reason;
  };
  let running = Promise.resolve();
  const save = (): Promise<void> => {
    const result = running.then(update);
    running = result.then(() => {
      reported = "";
    }, report);
    return result;
  };
  if (isNeeded)
    await write().catch((cause: unknown) => {
      const message = `${path}: token counts cannot be saved here: ${errorText(cause)}; choose another file with --usage-file`;
      throw new MosError(cause instanceof MosError ? cause.code : "storage", message, { cause });
    });
  const timer = setInterval(() => void save().catch(() => undefined), SAVE_EVERY).unref();
  return {
    ...createQuotas(date, { saved: () => saved, fresh }),
    /** Adds what is new to the file, and takes over what other servers have added. */
    save,
    async [Symbol.asyncDispose](): Promise<void> {
      clearInterval(timer);
      const timeout = setTimeout(() => ending.abort(), LAST_WRITE_WAIT);
      await save().catch((error) => {
        const lost = Object.fromEntries(fresh);
        log.error({ reason: errorText(error), lost }, "the last token counts could not be saved");
      });
      clearTimeout(timeout);
    },
  };
}
