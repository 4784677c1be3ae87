// Entry point mixture-of-shards/web: the library in a page.
export * from "mixture-of-shards-core/web";
