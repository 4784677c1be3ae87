export * from "./cases.ts";
export * from "./folder.ts";
export * from "./gate.ts";
export * from "./lesson.ts";
export * from "./night.ts";
export * from "./plan.ts";
export * from "./policy.ts";
