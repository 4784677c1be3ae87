export * from "./gate.ts";
export * from "./lesson.ts";
export * from "./policy.ts";
