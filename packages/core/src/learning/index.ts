export * from "./cases.ts";
export * from "./folder.ts";
export * from "./gate.ts";
export * from "./learning-settings.ts";
export * from "./lesson.ts";
export * from "./night.ts";
export * from "./plan.ts";
