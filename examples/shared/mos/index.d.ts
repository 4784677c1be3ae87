// In the folder that scripts/page.ts writes, index.js is the bundle of the library for pages.
export * from "mixture-of-shards/web";
