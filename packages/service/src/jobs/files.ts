// Rows of files: what clients upload, and what jobs leave.
import { MosError } from "mixture-of-shards/core";
import type { Database, Queryable } from "#database";
import { randomId } from "./ids.ts";
import { lockTenant } from "./limits.ts";
import {
  type FileRow,
  isOwned,
  type ListOptions,
  missing,
  type Owner,
  type Page,
  pageOf,
  rowsOf,
  valuesOf,
} from "./rows.ts";

/** A file that is to be kept. */
export type NewFile = Pick<
  FileRow,
  "tenant" | "purpose" | "filename" | "bytes" | "digest" | "status" | "status_details"
> & {
  readonly expiresSeconds?: number | undefined;
  /** Bytes that all files of the tenant may take. */
  readonly maxStorageBytes?: number | undefined;
};

/** Files by their owners. */
export interface FileStore {
  /** @throws MosError `busy` where the tenant's files would take more than they may. */
  addFile(file: NewFile): Promise<FileRow>;
  /** Checks the bytes of one more file, again and again while it arrives. It throws as `addFile`. */
  openRoom(tenant: string, maxStorageBytes?: number): Promise<(bytes: number) => void>;
  file(owner: Owner, id: string): Promise<FileRow>;
  files(owner: Owner, options: FileListOptions): Promise<Page<FileRow>>;
  removeFile(owner: Owner, id: string): Promise<void>;
  /** Removes files whose time is over. */
  removeExpired(): Promise<void>;
}

/** Which files are listed. */
export interface FileListOptions extends ListOptions {
  readonly purpose?: string | undefined;
  readonly order?: "asc" | "desc" | undefined;
}

const isCurrent = "(expires_at is null or expires_at > now())";

/** Checks bytes beside those of the tenant's files as they are now. */
async function roomOf(on: Queryable, tenant: string, most: number): Promise<(bytes: number) => void> {
  const [row] = await on.query(
    `select coalesce(sum(bytes), 0)::bigint as used from files where tenant = $1 and ${isCurrent}`,
    [tenant],
  );
  const used = Number(row?.["used"]);
  return (bytes) => {
    if (used + bytes > most)
      throw new MosError(
        "busy",
        `the files of this key may take ${most} bytes, and ${used} are taken; delete files that are not needed`,
      );
  };
}

async function addFile(
  on: Queryable,
  { tenant, purpose, filename, bytes, digest, expiresSeconds, maxStorageBytes, ...checked }: NewFile,
): Promise<FileRow> {
  if (maxStorageBytes !== undefined) {
    await lockTenant(on, tenant);
    (await roomOf(on, tenant, maxStorageBytes))(bytes);
  }
  const rows = await on.query(
    `insert into files (id, tenant, purpose, filename, bytes, digest, status, status_details, expires_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8, now() + make_interval(secs => $9::float8)) returning *`,
    [
      randomId("file-"),
      ...[tenant, purpose, filename, bytes, digest],
      ...[checked.status, checked.status_details, expiresSeconds ?? null],
    ],
  );
  return rowsOf("files", rows)[0] as FileRow;
}

export function openFiles(database: Database): FileStore {
  return {
    addFile: (file) => database.transaction((transaction) => addFile(transaction, file)),
    openRoom: async (tenant, most) => (most === undefined ? () => undefined : roomOf(database, tenant, most)),
    file: async (owner, id) => {
      const rows = await database.query(`select * from files where ${isOwned} and id = $3 and ${isCurrent}`, [
        ...valuesOf(owner),
        id,
      ]);
      const [file] = rowsOf("files", rows);
      if (file === undefined) throw missing("file", id);
      return file;
    },
    files: (owner, { purpose, order = "desc", ...page }) =>
      pageOf(database, "files", {
        where: `${isOwned} and ($3::text is null or purpose = $3) and ${isCurrent}`,
        values: [...valuesOf(owner), purpose ?? null],
        order,
        ...page,
      }),
    removeFile: async (owner, id) => {
      const rows = await database.query(`delete from files where ${isOwned} and id = $3 returning id`, [
        ...valuesOf(owner),
        id,
      ]);
      if (rows.length === 0) throw missing("file", id);
    },
    removeExpired: async () => void (await database.query("delete from files where expires_at <= now()", [])),
  };
}
