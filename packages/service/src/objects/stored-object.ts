// Contents by their digests: what a folder and a bucket both do.

/** A content's SHA-256 in hexadecimal digits. */
export const DIGEST = /^[0-9a-f]{64}$/;

/** A content: its SHA-256 in hexadecimal digits, and its size. */
export interface StoredObject {
  readonly digest: string;
  readonly bytes: number;
}

/** A folder as digests by relative path, with "/" between folders. */
export type Files = Readonly<Record<string, string>>;

/** The owner of contents that are put: one of its rows names each content before anybody relies on it. */
export interface Putter {
  readonly id: string;
  name(digest: string): Promise<void>;
}

/** For contents that only the age in `sweep` keeps until a row names them. */
export const NO_OWNER: Putter = { id: "unnamed", name: async () => undefined };

/** A content on this machine, for reading only, until it is disposed. */
export interface LocatedObject extends Disposable {
  readonly path: string;
}

/** Those of some contents that a row names. */
export type FindUsed = (digests: readonly string[]) => Promise<ReadonlySet<string>>;

/** Contents by their digest. A content is complete in the storage before its digest is known, so that a row can name it. */
export interface Contents {
  /** Keeps bytes as they arrive. What fails in the middle leaves nothing. */
  put(source: AsyncIterable<Uint8Array>, putter?: Putter): Promise<StoredObject>;
  /** Tests whether the storage has a content, without fetching it. */
  has(digest: string): Promise<boolean>;
  /** The content as a file. @throws MosError `not_found` where it is missing, `storage` where all are. */
  locate(digest: string): Promise<LocatedObject>;
  /** Removes a content that no row names. @throws MosError `storage`, also where the storage is not there. */
  remove(digest: string): Promise<void>;
  /** Looks whether contents can be kept. @throws MosError `storage`. */
  check(): Promise<void>;
  /** Removes what a putter that is gone has left half. It throws as `remove`. */
  discard(id: string): Promise<void>;
  /** Contents that nobody uses and that are older than some seconds; of files that arrive, removes those that are older. */
  sweep(isUsed: FindUsed, olderThan: number): Promise<readonly string[]>;
  /**
   * Removes local copies of contents that no row names, and the least recently used ones beyond the cache's limit. False where
   * copies in use take more than that.
   */
  trim(isUsed?: FindUsed): Promise<boolean>;
}

/** What a bucket needs on this machine. */
export interface BucketOptions {
  /** Folder of local copies, and their bytes beyond those in use. */
  readonly cache: { readonly folder: string; readonly bytes: number };
  /** URL of a server other than AWS. */
  readonly endpoint?: string | undefined;
}
