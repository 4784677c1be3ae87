// Rows of files: what clients upload, and what jobs leave.
import { MosError } from "mixture-of-shards";
import type { Database, Queryable } from "#database";
import { assertStorageQuota, keepsContents } from "./contents.ts";
import { randomId } from "./ids.ts";
import {
  type FileRow,
  isOwned,
  type ListOptions,
  missing,
  type Owner,
  ownerValues,
  type Page,
  parseRows,
  selectPage,
} from "./rows.ts";

/** A file that is to be kept. */
export type NewFile = Pick<
  FileRow,
  "tenant" | "purpose" | "filename" | "bytes" | "digest" | "status" | "status_details"
> & {
  readonly expiresSeconds?: number | undefined;
  /** Bytes that all files of the tenant may take. */
  readonly maxStorageBytes?: number | undefined;
  /** Arrival that has kept the content so far; it ends when the file is there. */
  readonly arrival?: string | undefined;
};

/** Files by their owners. */
export interface FileStore {
  /** @throws MosError `busy` where the tenant's files would take more than they may; `storage` where its arrival is over. */
  addFile(file: NewFile): Promise<FileRow>;
  file(owner: Owner, id: string): Promise<FileRow>;
  files(owner: Owner, options: FileListOptions): Promise<Page<FileRow>>;
  removeFile(owner: Owner, id: string): Promise<void>;
  /** Removes files whose time is over. */
  removeExpired(): Promise<void>;
}

/** Filter of listed files. */
export interface FileListOptions extends ListOptions {
  readonly purpose?: string | undefined;
  readonly order?: "asc" | "desc" | undefined;
}

const isCurrent = "(expires_at is null or expires_at > now())";

async function addFile(
  on: Queryable,
  {
    tenant,
    purpose,
    filename,
    bytes,
    digest,
    expiresSeconds,
    maxStorageBytes: most,
    arrival,
    ...checked
  }: NewFile,
): Promise<FileRow> {
  if (most !== undefined) await assertStorageQuota(on, tenant, { bytes, most, arrival });
  if (arrival !== undefined && !(await keepsContents(on, arrival, [digest])))
    throw new MosError("storage", "the upload took too long; send the file again");
  const rows = await on.query(
    `insert into files (id, tenant, purpose, filename, bytes, digest, status, status_details, expires_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8, now() + make_interval(secs => $9::float8)) returning *`,
    [
      randomId("file-"),
      ...[tenant, purpose, filename, bytes, digest],
      ...[checked.status, checked.status_details, expiresSeconds ?? null],
    ],
  );
  await on.query("delete from arrivals where id = $1", [arrival ?? null]);
  return parseRows("files", rows)[0] as FileRow;
}

export function openFiles(database: Database): FileStore {
  return {
    addFile: (file) => database.transaction((transaction) => addFile(transaction, file)),
    file: async (owner, id) => {
      const rows = await database.query(`select * from files where ${isOwned} and id = $3 and ${isCurrent}`, [
        ...ownerValues(owner),
        id,
      ]);
      const [file] = parseRows("files", rows);
      if (file === undefined) throw missing("file", id);
      return file;
    },
    files: (owner, { purpose, order = "desc", ...page }) =>
      selectPage(database, "files", {
        where: `${isOwned} and ($3::text is null or purpose = $3) and ${isCurrent}`,
        values: [...ownerValues(owner), purpose ?? null],
        order,
        ...page,
      }),
    removeFile: async (owner, id) => {
      const rows = await database.query(`delete from files where ${isOwned} and id = $3 returning id`, [
        ...ownerValues(owner),
        id,
      ]);
      if (rows.length === 0) throw missing("file", id);
    },
    removeExpired: async () => void (await database.query("delete from files where expires_at <= now()", [])),
  };
}
