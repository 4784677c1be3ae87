// A key that is being described, and the request that makes it.
import type { components } from "#api";

type KeyRequest = components["schemas"]["KeyRequest"];
/** A limit that an add-on enforces on keys. */
export type LimitField = components["schemas"]["KeyList"]["limit_fields"][number];

/** Numbers that limit every key, as the request names them. */
export const NUMBERS = [
  { name: "requests_per_minute", title: "Requests per minute" },
  { name: "max_concurrent", title: "Concurrent requests" },
  { name: "tokens_per_day", title: "Tokens per day (UTC)" },
  { name: "tokens_per_month", title: "Tokens per month (UTC)" },
] as const;

/** The end of a key's life. */
export const EXPIRIES = [
  { value: "", title: "Never" },
  { value: "1d", title: "In a day" },
  { value: "7d", title: "In 7 days" },
  { value: "30d", title: "In 30 days" },
  { value: "90d", title: "In 90 days" },
  { value: "365d", title: "In a year" },
  { value: "date", title: "On a date …" },
] as const;

/** What the form holds. */
export interface KeyDraft {
  readonly name: string;
  readonly admin: boolean;
  /** Patterns, with blanks or commas between them. */
  readonly adapters: string;
  readonly expires: string;
  /** Where the expiry is a date. */
  readonly date: string;
  /** Limits by `fieldName`. */
  readonly numbers: Readonly<Record<string, number | undefined>>;
}

export const emptyDraft: KeyDraft = {
  name: "",
  admin: false,
  adapters: "",
  expires: "",
  date: "",
  numbers: {},
};

/** The name of a limit among all of them. */
export const fieldName = ({ group, name }: Pick<LimitField, "group" | "name">): string => `${group}.${name}`;

/** The request for a key. What is left empty is left out. */
export function toKeyRequest(draft: KeyDraft, fields: readonly LimitField[]): KeyRequest {
  const { name, admin, numbers } = draft;
  const adapters = draft.adapters.split(/[\s,]+/).filter((pattern) => pattern !== "");
  const expires = draft.expires === "date" ? draft.date.trim() : draft.expires;
  const limits: Record<string, Record<string, number>> = {};
  for (const field of fields) {
    const value = numbers[fieldName(field)];
    if (value !== undefined) limits[field.group] = { ...limits[field.group], [field.name]: value };
  }
  const given = NUMBERS.flatMap((one) => {
    const value = numbers[one.name];
    return value === undefined ? [] : [[one.name, value] as const];
  });
  return {
    name: name.trim(),
    ...(admin ? { admin } : {}),
    ...(adapters.length === 0 ? {} : { adapters }),
    ...Object.fromEntries(given),
    ...(expires === "" ? {} : { expires }),
    ...(Object.keys(limits).length === 0 ? {} : { limits }),
  };
}
