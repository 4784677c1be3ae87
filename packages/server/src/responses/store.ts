// Stored responses: what a later request may refer to, within bounds of bytes and days for each key.
import type { ConversationItem } from "./items.ts";
import type { OutputItem } from "./output.ts";

/** A response as it is stored. */
export interface StoredResponse {
  readonly id: string;
  /** Seconds since 1970. */
  readonly createdAt: number;
  /** The answer as the client had it. */
  readonly response: Readonly<Record<string, unknown>>;
  /** Items of the request, each with an id; without those of earlier responses. */
  readonly input: readonly (ConversationItem & { readonly id: string })[];
  readonly output: readonly OutputItem[];
  /** The response that this one continues. */
  readonly previous?: string | undefined;
}

/** Stores responses by tenant. Older ones give way to newer ones within the limits of a tenant. */
export interface ResponseStore {
  /** Replaces one of the same id. */
  put(tenant: string, stored: StoredResponse): Promise<void>;
  /** Finds a stored response of a tenant. */
  get(tenant: string, id: string): Promise<StoredResponse | undefined>;
  /** The item of this id, of the input or output of any response that is stored. */
  item(tenant: string, id: string): Promise<ConversationItem | undefined>;
  /** False where there is none. */
  delete(tenant: string, id: string): Promise<boolean>;
}

/** Bounds of what is stored for each key. */
export interface ResponseLimits {
  /** Bytes; 0 stores nothing. */
  readonly bytes: number;
  readonly days: number;
}

/** Enough for some thousand turns of a conversation. */
export const defaultResponses: ResponseLimits = { bytes: 16_000_000, days: 30 };

/** What a tenant has, the oldest first. */
interface Tenant {
  readonly entries: Map<string, { stored: StoredResponse; bytes: number; endsAt: number }>;
  /** Id of the response that has an item. */
  readonly owners: Map<string, string>;
  bytes: number;
}

/** Bytes that a response takes, about: those of its JSON. */
export const storedBytes = (stored: StoredResponse): number => Buffer.byteLength(JSON.stringify(stored));

/** Output is what the model wrote, which are items of a conversation as well. */
const itemsOf = ({ input, output }: StoredResponse) => [...input, ...(output as typeof input)];

/**
 * A store in memory, which ends with the process.
 *
 * @param now Milliseconds since 1970.
 */
export function createMemoryStore({ bytes: limit, days }: ResponseLimits, now: () => number): ResponseStore {
  const tenants = new Map<string, Tenant>();
  const remove = (tenant: Tenant, id: string): boolean => {
    const entry = tenant.entries.get(id);
    if (entry === undefined) return false;
    tenant.entries.delete(id);
    tenant.bytes -= entry.bytes;
    for (const item of itemsOf(entry.stored))
      if (tenant.owners.get(item.id) === id) tenant.owners.delete(item.id);
    return true;
  };
  /** A tenant's responses, without those whose time is over. */
  const open = (name: string): Tenant => {
    const tenant = tenants.get(name) ?? { entries: new Map(), owners: new Map(), bytes: 0 };
    tenants.set(name, tenant);
    for (const [id, { endsAt }] of tenant.entries) {
      if (endsAt > now()) break;
      remove(tenant, id);
    }
    return tenant;
  };
  return {
    put: async (name, stored) => {
      const tenant = open(name);
      remove(tenant, stored.id);
      const bytes = storedBytes(stored);
      if (bytes > limit) return;
      tenant.entries.set(stored.id, { stored, bytes, endsAt: now() + days * 86_400_000 });
      tenant.bytes += bytes;
      for (const item of itemsOf(stored)) tenant.owners.set(item.id, stored.id);
      for (const id of tenant.entries.keys()) {
        if (tenant.bytes <= limit) break;
        remove(tenant, id);
      }
    },
    get: async (name, id) => open(name).entries.get(id)?.stored,
    item: async (name, id) => {
      const { entries, owners } = open(name);
      const stored = entries.get(owners.get(id) ?? "")?.stored;
      return stored && itemsOf(stored).find((item) => item.id === id);
    },
    delete: async (name, id) => remove(open(name), id),
  };
}
