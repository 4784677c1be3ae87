// Files by the digest of their content, in a folder that all machines of a service share, or in a bucket.

export { folderHas } from "./folder.ts";
export { isBucket, type ObjectStore, openBucketObjects, openObjects } from "./objects.ts";
export type { Files, StoredObject } from "./stored-object.ts";
