// Entry point mixture-of-shards: the library.
export * from "mixture-of-shards-core";
export { openApp, serve } from "mixture-of-shards-server";
