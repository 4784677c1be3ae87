export * from "#evaluation";
export { type ReproduceEvent, type ReproduceOptions, reproduce } from "#reproduce";
