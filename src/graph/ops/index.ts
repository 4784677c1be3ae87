export * from "./attention.ts";
export * from "./elementwise.ts";
export * from "./gather.ts";
export * from "./linear.ts";
export * from "./loss.ts";
export * from "./norm.ts";
export * from "./reduce.ts";
export * from "./shape.ts";
