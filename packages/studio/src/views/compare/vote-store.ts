// Votes in this browser, until somebody downloads or removes them.
import { signal } from "@preact/signals";
import { messageOf } from "#api";
import { toast } from "#ui";
import type { Vote } from "./votes.ts";

const DATABASE = "mos-studio-votes";
const STORE = "votes";

/** All votes, the oldest first; undefined until they are read. */
export const votes = signal<readonly Vote[] | undefined>(undefined);

const finished = <T>(request: IDBRequest<T>): Promise<T> =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

function openDatabase(): Promise<IDBDatabase> {
  const request = indexedDB.open(DATABASE, 1);
  // the moment of a vote is its key: nobody votes twice in a millisecond
  request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "at" });
  return finished(request);
}

async function inStore<T>(
  mode: IDBTransactionMode,
  work: (store: IDBObjectStore) => IDBRequest<T>,
): Promise<T> {
  const database = await openDatabase();
  try {
    return await finished(work(database.transaction(STORE, mode).objectStore(STORE)));
  } finally {
    database.close();
  }
}

/** Reads what earlier visits and other windows have left. */
export async function loadVotes(): Promise<void> {
  try {
    votes.value = await inStore<Vote[]>("readonly", (store) => store.getAll());
  } catch (error) {
    votes.value ??= [];
    toast(`Votes of earlier visits cannot be read: ${messageOf(error)}`, { kind: "bad" });
  }
}

/** Where the browser stores nothing, as in some private windows, votes last as long as the page. */
async function change<T>(
  next: readonly Vote[],
  work: (store: IDBObjectStore) => IDBRequest<T>,
): Promise<void> {
  votes.value = next;
  await inStore("readwrite", work).catch((error: unknown) =>
    toast(`The browser does not keep this vote: ${messageOf(error)}`, { kind: "bad" }),
  );
}

export const addVote = (vote: Vote): Promise<void> =>
  change([...(votes.value ?? []), vote], (store) => store.put(vote));

export const removeVote = ({ at }: Vote): Promise<void> =>
  change(
    (votes.value ?? []).filter((vote) => vote.at !== at),
    (store) => store.delete(at),
  );

export const clearVotes = (): Promise<void> => change([], (store) => store.clear());
