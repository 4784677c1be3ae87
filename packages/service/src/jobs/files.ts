// Rows of files: what clients upload, and what jobs leave.
import type { Database } from "#database";
import { randomId } from "./ids.ts";
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
> & { readonly expiresSeconds?: number | undefined };

/** Files by their owners. */
export interface FileStore {
  addFile(file: NewFile): Promise<FileRow>;
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

export function openFiles(database: Database): FileStore {
  return {
    addFile: async ({ tenant, purpose, filename, bytes, digest, expiresSeconds = null, ...checked }) => {
      const rows = await database.query(
        `insert into files (id, tenant, purpose, filename, bytes, digest, status, status_details, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, now() + make_interval(secs => $9::float8)) returning *`,
        [
          randomId("file-"),
          ...[tenant, purpose, filename, bytes, digest],
          ...[checked.status, checked.status_details, expiresSeconds],
        ],
      );
      return rowsOf("files", rows)[0] as FileRow;
    },
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
