import { createHash, timingSafeEqual } from "node:crypto";
import { z } from "zod";
import { parseJson, parseWith } from "#core";

/** Who sends a request, and what it may do. */
export interface ApiKey {
  /** The tenant; fair shares and limits are by it. Two keys may have the same name while one replaces the other. */
  readonly name: string;
  readonly isAdmin: boolean;
  readonly requestsPerMinute?: number | undefined;
  readonly maxConcurrent?: number | undefined;
  /** Whether the adapter of this name exists for the key. */
  mayUse(adapter: string): boolean;
}

/** Knows keys by their hashes. */
export interface KeyRing {
  /** The key of a token, unless it is unknown or revoked. */
  find(token: string): Promise<ApiKey | undefined>;
}

/** Everybody, where the server runs without keys. */
export const ANYBODY: ApiKey = { name: "anybody", isAdmin: false, mayUse: () => true };

const keySchema = z.strictObject({
  name: z.string().regex(/^[\w.@-]{1,64}$/, "a name of letters, digits and . _ - @, at most 64"),
  sha256: z.string().regex(/^[0-9a-f]{64}$/, "the SHA-256 of the key, 64 hexadecimal digits"),
  adapters: z.array(z.string().max(200)).max(10_000).optional(),
  admin: z.boolean().optional(),
  requests_per_minute: z.number().gt(0).optional(),
  max_concurrent: z.int().min(1).optional(),
  revoked: z.boolean().optional(),
});

/** What a key file says about a key; the key itself is not in it. */
export type KeyLine = z.output<typeof keySchema>;

/** `acme-*` as a test of names; only * has a meaning. */
function matcher(pattern: string): (name: string) => boolean {
  const parts = pattern.split("*").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  const expression = new RegExp(`^${parts.join("[^]*")}$`);
  return (name) => expression.test(name);
}

function keyOf({ name, adapters, admin, requests_per_minute, max_concurrent }: KeyLine): ApiKey {
  const matchers = adapters?.map(matcher);
  return {
    name,
    isAdmin: admin === true,
    requestsPerMinute: requests_per_minute,
    maxConcurrent: max_concurrent,
    mayUse: (adapter) => matchers?.some((matches) => matches(adapter)) ?? true,
  };
}

const sha256 = (text: string): Buffer => createHash("sha256").update(text).digest();

interface KnownKey {
  readonly hash: Buffer;
  readonly key: ApiKey;
}

/**
 * Each key of the text of a key file once: a JSON array, or one object a line. A key that any line revokes is revoked; of
 * several other lines the last one counts.
 *
 * @throws MosError `bad_config`, naming the line.
 */
export function keyLines(text: string, where: string): readonly KeyLine[] {
  const lines = linesOf(text, where).map(({ value, place }) =>
    parseWith(keySchema, value, { code: "bad_config", where: place }),
  );
  const gone = new Set(lines.filter(({ revoked }) => revoked === true).map((line) => line.sha256));
  const keys = new Map<string, KeyLine>();
  for (const line of lines) if (line.revoked !== true || !keys.has(line.sha256)) keys.set(line.sha256, line);
  return [...keys.values()].map((line) => (gone.has(line.sha256) ? { ...line, revoked: true } : line));
}

/** The keys of a key file that are not revoked. Throws as `keyLines` does. */
export const parseKeys = (text: string, where: string): readonly KnownKey[] =>
  keyLines(text, where)
    .filter(({ revoked }) => revoked !== true)
    .map((line) => ({ hash: Buffer.from(line.sha256, "hex"), key: keyOf(line) }));

function linesOf(
  text: string,
  where: string,
): readonly { readonly value: unknown; readonly place: string }[] {
  if (text.trimStart().startsWith("[")) {
    const value = parseJson(text, { code: "bad_config", where });
    return z
      .array(z.unknown())
      .parse(value)
      .map((entry, i) => ({ value: entry, place: `${where}, key ${i + 1}` }));
  }
  return text.split("\n").flatMap((line, i) => {
    const place = `${where}:${i + 1}`;
    return line.trim() === ""
      ? []
      : [{ value: parseJson(line, { code: "bad_config", where: place }), place }];
  });
}

/** The key of a token. Every hash is compared, each in constant time, so that time tells nothing. */
export function findKey(keys: readonly KnownKey[], token: string): ApiKey | undefined {
  const hash = sha256(token);
  let found: ApiKey | undefined;
  for (const known of keys) if (timingSafeEqual(known.hash, hash)) found = known.key;
  return found;
}

/** The hash under which a key file keeps a key, in hexadecimal digits. */
export const hashOfKey = (token: string): string => sha256(token).toString("hex");
