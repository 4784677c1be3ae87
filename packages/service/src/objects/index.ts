// Files by the digest of their content, in a folder that all machines of a service share.
export { type Files, type ObjectStore, openObjects, type StoredObject } from "./objects.ts";
