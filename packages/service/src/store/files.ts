// Rows of files: what clients upload, and what jobs leave.
import { MosError } from "mixture-of-shards";
import { z } from "zod";
import {
  type Database,
  findRow,
  isOwned,
  type ListOptions,
  type Owner,
  ownerValues,
  type Page,
  type Queryable,
  queryRows,
  randomId,
  removeRow,
  selectPage,
} from "#database";
import { assertStorageQuota, keepsContents } from "./contents.ts";

const files = {
  name: "files",
  item: "file",
  schema: z.object({
    id: z.string(),
    tenant: z.string(),
    purpose: z.string(),
    filename: z.string(),
    bytes: z.number(),
    digest: z.string(),
    status: z.enum(["processed", "error"]),
    status_details: z.string().nullable(),
    created_at: z.date(),
    expires_at: z.date().nullable(),
  }),
};
/** An uploaded file, or one that a job made. */
export type FileRow = z.output<typeof files.schema>;

/** A file that is to be kept. */
type NewFile = Pick<
  FileRow,
  "tenant" | "purpose" | "filename" | "bytes" | "digest" | "status" | "status_details"
> & {
  readonly expiresSeconds?: number | undefined;
  /** Bytes that all files of the tenant may take. */
  readonly maxStorageBytes?: number | undefined;
  /** Arrival that has kept the content so far; it ends when the file is there. */
  readonly arrival?: string | undefined;
};

const isCurrent = "(expires_at is null or expires_at > now())";

async function addFile(on: Queryable, file: NewFile): Promise<FileRow> {
  const { tenant, purpose, filename, bytes, digest, status, status_details, arrival } = file;
  const { expiresSeconds = null, maxStorageBytes: most } = file;
  if (most !== undefined) await assertStorageQuota(on, tenant, { bytes, most, arrival });
  if (arrival !== undefined && !(await keepsContents(on, arrival, [digest])))
    throw new MosError("storage", "the upload took too long; send the file again");
  const [row] = await queryRows(
    on,
    files,
    `insert into files (id, tenant, purpose, filename, bytes, digest, status, status_details, expires_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8, now() + make_interval(secs => $9::float8)) returning *`,
    [
      randomId("file-"),
      ...[tenant, purpose, filename, bytes, digest],
      ...[status, status_details, expiresSeconds],
    ],
  );
  await on.query("delete from arrivals where id = $1", [arrival ?? null]);
  return row as FileRow;
}

/** Files of a database whose tables are there. */
export function openFiles(database: Database) {
  return {
    /** @throws MosError `busy` where the tenant's files would take more than they may; `storage` where its arrival is over. */
    add: (file: NewFile): Promise<FileRow> =>
      database.transaction((transaction) => addFile(transaction, file)),
    find: (owner: Owner, id: string): Promise<FileRow> =>
      findRow(database, files, { owner, id, condition: isCurrent }),
    list: (
      owner: Owner,
      { purpose, ...page }: ListOptions & { readonly purpose?: string | undefined },
    ): Promise<Page<FileRow>> =>
      selectPage(database, files, {
        where: `${isOwned} and ($3::text is null or purpose = $3) and ${isCurrent}`,
        values: [...ownerValues(owner), purpose ?? null],
        ...page,
      }),
    remove: (owner: Owner, id: string): Promise<void> => removeRow(database, files, { owner, id }),
    /** Removes files whose time is over. */
    removeExpired: async (): Promise<void> => {
      await database.query("delete from files where expires_at <= now()", []);
    },
  };
}
